"""Any Hugging Face image data set as a folder of files: images as they are, a table, and a card.

From then on it is an ordinary corpus of the adapter `table`. The library reads data files only; code that
comes with a data set is not run, and images are taken from the data set's own files alone.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from mghft.pipeline.corpora.adapters.listing import summed_up
from mghft.pipeline.corpora.adapters.read_table import as_text, named
from mghft.pipeline.corpora.sticker import SPLIT_NAMES
from mghft.pipeline.files import write_text
from mghft.pipeline.images.decode import FORMATS

TABLE, CARD = "stickers.csv", "card.md"
_LABELS = ("label", "labels", "emotion", "sentiment", "class", "category", "sentiment_category")
_TEXTS = ("text", "caption", "ocr", "ocr_text", "sentence")
_SUFFIX = {"JPEG": ".jpg", "TIFF": ".tif"}


@dataclass(frozen=True)
class Columns:
    """Columns of the data set; None: found by their type and usual names, or absent."""

    image: str | None = None
    label: str | None = None
    text: str | None = None


@dataclass
class Imported:
    """What an import came to.

    Attributes:
        rows: images written.
        skipped: rows without a usable image, each with the reason.
        columns: the columns that were taken.
    """

    rows: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    columns: Columns = Columns()
    labels: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The summary, one sentence a line."""
        taken = ", ".join(f"{what} from '{name}'" for what, name in vars(self.columns).items() if name)
        found = [f"{self.rows} images; {taken}", f"{len(self.labels)} labels: {', '.join(self.labels)}"]
        return found + [f"left out: {clause}" for clause in summed_up(self.skipped)]


def import_data_set(
    source: str, out: Path, columns: Columns, *, progress: Callable[[int, int], None] | None = None
) -> Imported:
    """Writes a data set as `images/<split>/<number>.<suffix>`, `stickers.csv` and `card.md`.

    All of it lies beside `out` under another name until it is whole.

    Args:
        source: folder of `save_to_disk`, a folder or file of Parquet, or `hf:ID[:CONFIG]`, which alone asks
            the network.
        out: new or empty folder.
        columns: which to take.
        progress: called with the rows done and in all.

    Raises:
        FileNotFoundError: there is no such data set.
        ValueError: `out` is in use, or the data set has no images or labels.
    """
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"the folder {out} is not empty: give another with --out")
    part = out.with_name(f".{out.name}.part")
    # What a killed import left.
    shutil.rmtree(part, ignore_errors=True)
    try:
        done = _import(_open(source), source, part, columns, progress)
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return done


def _import(
    splits: dict[str, Any],
    source: str,
    out: Path,
    columns: Columns,
    progress: Callable[[int, int], None] | None,
) -> Imported:
    total = sum(len(data) for data in splits.values())
    first = next(iter(splits.values()))
    done = Imported(columns=_choose(first.features, columns, source))
    names = _label_names(first.features, done.columns.label)
    (out / "images").mkdir(parents=True, exist_ok=True)
    table: list[list[str]] = []
    for split, data in splits.items():
        folder = out / "images" / _file_name(split)
        folder.mkdir(exist_ok=True)
        for number, (content, label, text) in enumerate(_rows(data, done.columns)):
            path = _write_image(content, folder / f"{number:06d}", done, f"{split} {number}")
            if path is not None:
                name = _label_name(label, names)
                relative = path.relative_to(out).as_posix()
                table.append([relative, name, SPLIT_NAMES.get(split, split), as_text(text)])
                done.rows += 1
            if progress is not None:
                progress(done.rows + len(done.skipped), total)
    if not table:
        raise ValueError(f"the data set {source} has no usable image: {'; '.join(summed_up(done.skipped))}")
    done.labels = names or sorted({row[1] for row in table if row[1]}, key=_numbers_first)
    _write_table(out, table)
    _write_card(out, source, done, bool(done.columns.text))
    return done


def _open(source: str) -> dict[str, Any]:
    """The splits of a data set, opened and not read."""
    import datasets

    datasets.disable_progress_bars()
    try:
        if source.startswith("hf:"):
            name, _, config = source.removeprefix("hf:").partition(":")
            found = datasets.load_dataset(name, config or None)
        elif (path := Path(source)).is_file() and path.suffix == ".parquet":
            found = datasets.load_dataset("parquet", data_files=str(path))
        elif (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            found = datasets.load_from_disk(str(path))
        elif path.is_dir() and any(path.rglob("*.parquet")):
            found = datasets.load_dataset("parquet", data_dir=str(path))
        else:
            raise FileNotFoundError(
                f"{source} is no saved data set: give a folder of save_to_disk, Parquet files, "
                "or hf:ID for one of the hub"
            )
    except FileNotFoundError:
        raise
    except Exception as error:
        # The library raises its own and its dependencies' errors; all mean that it cannot be opened.
        raise ValueError(
            f"the data set {source} cannot be opened: {' '.join(str(error).split())[:300]}"
        ) from None
    return dict(found) if isinstance(found, datasets.DatasetDict) else {str(found.split or "all"): found}


def _choose(features: Any, wanted: Columns, source: str) -> Columns:
    import datasets

    header = list(features)
    for what, name in vars(wanted).items():
        if name is not None and name not in header:
            raise ValueError(
                f"the data set {source} has no column '{name}' for --{what} (it has: {', '.join(header)})"
            )
    image = wanted.image or next((n for n in header if isinstance(features[n], datasets.Image)), None)
    if image is None or not isinstance(features[image], datasets.Image):
        raise ValueError(f"the data set {source} has no column of images (it has: {', '.join(header)})")
    classes = [n for n in header if isinstance(features[n], datasets.ClassLabel)]
    label = wanted.label or (classes[0] if len(classes) == 1 else named(header, _LABELS))
    if label is None:
        raise ValueError(
            f"the data set {source} has no column that is clearly the label (it has: {', '.join(header)}): "
            "name it with --label"
        )
    if not isinstance(features[label], datasets.ClassLabel | datasets.Value):
        raise ValueError(f"the column '{label}' of the data set {source} holds no single label in each row")
    return Columns(image, label, wanted.text or named(header, _TEXTS))


def _label_names(features: Any, label: str | None) -> list[str]:
    return list(getattr(features[label], "names", None) or []) if label else []


def _label_name(label: Any, names: list[str]) -> str:
    """A label as text; the hub's -1 for a row without one is the empty text."""
    if names and isinstance(label, int):
        return names[label] if 0 <= label < len(names) else ""
    return as_text(label)


def _rows(data: Any, columns: Columns) -> Iterator[tuple[Any, Any, Any]]:
    """Image as {bytes, path} without decoding, label, text."""
    import datasets

    kept = [name for name in (columns.image, columns.label, columns.text) if name]
    plain = data.select_columns(kept).cast_column(columns.image, datasets.Image(decode=False))
    for row in plain:
        yield row[columns.image], row[columns.label], row[columns.text] if columns.text else None


def _write_image(image: Any, target: Path, done: Imported, name: str) -> Path | None:
    content = (image or {}).get("bytes")
    if not content:
        # A path in a stranger's table may be any file of this machine.
        done.skipped.append((name, "the data set does not hold the image itself"))
        return None
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as opened:
            kind = str(opened.format)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        done.skipped.append((name, "its image cannot be read"))
        return None
    path = target.with_suffix(_SUFFIX.get(kind, f".{kind.lower()}"))
    path.write_bytes(content)
    return path


def _write_table(out: Path, table: list[list[str]]) -> None:
    with (out / TABLE).open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["path", "label", "split", "text"])
        rows.writerows(table)


def _write_card(out: Path, source: str, done: Imported, has_text: bool) -> None:
    labels = json.dumps(done.labels, ensure_ascii=False)
    text = "\n".join(
        [
            "---",
            f"pretty_name: {json.dumps(source, ensure_ascii=False)}",
            "license: unknown",
            "task_categories:",
            "- image-classification",
            "mghft:",
            "  adapter: table",
            f"  file: {TABLE}",
            f"  columns: {{path: path, label: label, split: split, text: {'text' if has_text else 'null'}}}",
            f"  labels: {labels}",
            "  split_file: mghft-split.csv",
            "---",
            f"# {source}",
            "",
            f"{done.rows} images, written by `mghft data import`. The licence is that of the source.",
            "",
        ]
    )
    write_text(out / CARD, text)


def _file_name(split: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", split) or "all"


def _numbers_first(name: str) -> tuple[int, str]:
    return (int(name) if name.isdecimal() else -1, name)
