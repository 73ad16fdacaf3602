"""Writes copies of SER30K as they may lie on a disk, with generated pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

SPLITS = ("train", "val", "test")


def row(split: str, **fields: Any) -> dict[str, Any]:
    votes = {"anno1": 4, "anno2": 4, "anno3": 5}
    return {"topic": "09-panda", "file_name": f"{split}_1.jpg", "text": "", "anno": 4, **votes, **fields}


def write(
    root: Path,
    rows: Callable[[str], list[dict[str, Any]]],
    *,
    nested: bool = True,
    images: bool = True,
    **top: Any,
) -> Path:
    """The three JSON files and, unless told otherwise, an image for every row that names a safe one."""
    folder = root / "Annotations" / "image-level" if nested else root / "Annotations"
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        content = {"annotations": rows(split), **top}
        (folder / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")
        for one in content["annotations"] if images else []:
            path = f"{one['topic']}/{one['file_name']}"
            if ".." not in path and not path.startswith("/") and path.isprintable():
                add_image(root, path)
    return root


def add_image(root: Path, name: str, mode: str = "RGB") -> None:
    path = root / "Images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (1, 1)).save(path, "PNG")
