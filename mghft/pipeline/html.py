"""Web pages that are one file and load nothing: templates, pictures as data, which files to replace."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from mghft.pipeline.files import write_atomically

TEMPLATES = Path(__file__).parent / "templates"


def page_environment(templates: Path | Sequence[Path] = ()) -> Environment:
    """Open folders of page templates; whatever is put into one is escaped, and a missing name is an error.

    Every page finds the stylesheet (`_style.html.j2`) and the head (`_head.html.j2`) of this room.

    Filters: `policy_hash` (how a Content-Security-Policy names a script by its content), `thousands` (1,234),
    `percent` (12.3 of .123).
    """
    folders = [templates] if isinstance(templates, Path) else [*templates]
    environment = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["policy_hash"] = _policy_hash
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.filters["percent"] = lambda share: f"{100 * share:.1f}"
    return environment


def data_url(content: bytes, media_type: str) -> str:
    """Return bytes as an address that holds them."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def picture_url(image: Image.Image) -> str:
    """Return a picture as an address that holds it, as WebP: small enough for hundreds on a page."""
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=82, method=2)
    return data_url(stream.getvalue(), "image/webp")


def write_page(
    path: Path, name: str, facts: Mapping[str, Any], templates: Path | Sequence[Path] = ()
) -> None:
    """Render a template into a file, as it grows: what `facts` makes one by one is never in memory at once.

    Raises:
        OSError: it cannot be written; an earlier page stays.
    """
    page = page_environment(templates).get_template(name)
    write_atomically(path, lambda file: file.writelines(part.encode() for part in page.generate(facts)))


def check_page(path: Path, mark: bytes, name: str) -> None:
    """Refuse to replace anything but an older page with the same mark.

    Raises:
        ValueError: the path is a folder, or a file of another kind.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give a file with --out, for example {path / f'{name}.html'}")
    if path.exists():
        with path.open("rb") as file:
            if mark not in file.read(1000):
                raise ValueError(f"the file {path} already exists and is no {name}: give another with --out")


def _policy_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(str(text).encode()).digest()).decode()
