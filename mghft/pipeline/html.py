"""Web pages that are one file and load nothing: templates, pictures as data, which files to replace."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

__all__ = ["check_page", "data_url", "page_environment"]


def page_environment() -> Environment:
    """Templates of this package; whatever is put into one is escaped."""
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


def _policy_hash(text: str) -> str:
    """How a Content-Security-Policy names one script or style by its content."""
    return "sha256-" + base64.b64encode(hashlib.sha256(str(text).encode()).digest()).decode()


def data_url(image: Image.Image) -> str:
    """A picture inside the page."""
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=82, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def check_page(path: Path, mark: bytes, name: str) -> None:
    """An older page with the same mark may be replaced.

    Raises:
        ValueError: the path is a folder, or a file of another kind.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give a file with --out, for example {path / f'{name}.html'}")
    if path.exists():
        with path.open("rb") as file:
            if mark not in file.read(1000):
                raise ValueError(f"the file {path} is there and is no {name}: give another with --out")
