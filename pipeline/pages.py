"""What self-contained pages share: templates that escape, hashes for their policy, pictures inside."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image


def page_environment() -> Environment:
    """Templates of this package; every value is escaped, a missing one is an error."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["policy_hash"] = _policy_hash
    environment.filters["thousands"] = lambda number: f"{number:,}"
    return environment


def picture_url(image: Image.Image) -> str:
    """A picture as an address that holds it."""
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=82, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _policy_hash(text: str) -> str:
    """How a Content-Security-Policy names one script or style by its content."""
    return "sha256-" + base64.b64encode(hashlib.sha256(str(text).encode()).digest()).decode()
