"""Any Hugging Face image data set as a folder of files: images as they are, a table, and a card.

From then on it is an ordinary corpus of the adapter `table`. The library reads data files only; code that
comes with a data set is not run, and images are taken from the data set's own files alone.
"""

from __future__ import annotations

import csv
import io
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, UnidentifiedImageError

from mghft.pipeline.corpora.adapters.listing import summarize_skipped
from mghft.pipeline.corpora.adapters.read_table import (
    LABEL_COLUMNS,
    TEXT_COLUMNS,
    as_text,
    find_column,
    numbers_first,
)
from mghft.pipeline.corpora.sticker import normal_split
from mghft.pipeline.files import check_folder, replace_folder, write_text
from mghft.pipeline.images.decode import FORMATS
from mghft.pipeline.images.kinds import sticker_kind
from mghft.pipeline.text import one_line, plural, valid_utf8, yaml_line

TABLE, CARD = "stickers.csv", "card.md"
# What the library takes for a pattern of file names.
_PATTERN_SIGNS = set("*?[]")
_PEEKED_AT = 100
_SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif"}
_STICKER_SUFFIXES = {"lottie": ".tgs", "video": ".webm", "heif": ".heic"}


@dataclass(frozen=True)
class Columns:
    """Columns of a data set; None: found by their type and usual names, or absent."""

    image: str | None = None
    label: str | None = None
    text: str | None = None


@dataclass
class Imported:
    """The outcome of an import.

    Attributes:
        columns: the columns that were taken.
        rows: images written.
        skipped: name and reason of every row without a usable image.
        labels: in the order of the card.
    """

    columns: Columns
    rows: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the summary, one sentence a line."""
        taken = ", ".join(f"{role} from '{name}'" for role, name in vars(self.columns).items() if name)
        labels = f"{plural(self.labels, 'label')}: {', '.join(self.labels)}"
        lines = [f"{plural(self.rows, 'image')}; {taken}", labels]
        return lines + [f"left out: {clause}" for clause in summarize_skipped(self.skipped)]


class _TableRow(NamedTuple):
    path: str
    label: str
    split: str
    text: str


def import_data_set(
    source: str, out: Path, columns: Columns, *, progress: Callable[[int, int], None] | None = None
) -> Imported:
    """Write a data set as `images/<split>/<number>.<suffix>`, `stickers.csv` and `card.md`.

    The folder has its name once all of it is written.

    Args:
        source: folder of `save_to_disk`, a folder or file of Parquet, or `hf:ID[:CONFIG]`, which alone asks
            the network.
        out: new or empty folder.
        columns: which to take.
        progress: called with the rows done and in all.

    Raises:
        FileNotFoundError: the data set does not exist.
        ValueError: `out` is in use, or the data set has no images or labels.
    """
    check_folder(out, empty=True)
    splits = _open(source)
    imported = Imported(_choose_columns(splits, columns, source))
    replace_folder(out.absolute(), lambda folder: _write_corpus(folder, splits, source, imported, progress))
    return imported


def _write_corpus(
    folder: Path,
    splits: Mapping[str, Any],
    source: str,
    imported: Imported,
    progress: Callable[[int, int], None] | None,
) -> None:
    total = sum(map(len, splits.values()))
    features = next(iter(splits.values())).features
    names = list(getattr(features[imported.columns.label], "names", None) or [])
    table: list[_TableRow] = []
    for split, data in splits.items():
        images = folder / "images" / (re.sub(r"[^A-Za-z0-9_-]", "_", split) or "all")
        images.mkdir(parents=True, exist_ok=True)
        for number, (image, label, text) in enumerate(_read_rows(data, imported.columns)):
            content = image.get("bytes") if image else None
            suffix, fault = _image_suffix(content)
            if content is None or suffix is None:
                imported.skipped.append((f"{split} {number}", fault))
            else:
                path = images / f"{number:06d}{suffix}"
                # The folder has no name yet and is synced as a whole.
                path.write_bytes(content)
                relative = path.relative_to(folder).as_posix()
                name = _label_name(label, names)
                table.append(_TableRow(relative, name, normal_split(split), as_text(text)))
            if progress is not None:
                progress(len(table) + len(imported.skipped), total)
    if not table:
        reasons = "; ".join(summarize_skipped(imported.skipped))
        raise ValueError(f"the data set {source} has no usable image: {reasons}")
    imported.rows = len(table)
    imported.labels = names or sorted({row.label for row in table} - {""}, key=numbers_first)
    _write_table(folder / TABLE, table)
    _write_card(folder / CARD, source, imported)


def _open(source: str) -> dict[str, Any]:
    """Open the splits of a data set without reading them."""
    import datasets

    datasets.disable_progress_bars()
    path = Path(source)
    try:
        if source.startswith("hf:"):
            name, _, config = source.removeprefix("hf:").partition(":")
            data = datasets.load_dataset(name, config or None)
        elif path.is_file() and path.suffix == ".parquet":
            with _plainly_named(path) as plain:
                data = datasets.load_dataset("parquet", data_files=str(plain))
        elif (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            data = datasets.load_from_disk(str(path))
        elif path.is_dir() and any(path.rglob("*.parquet")):
            with _plainly_named(path) as plain:
                data = datasets.load_dataset("parquet", data_dir=str(plain))
        else:
            raise FileNotFoundError(
                f"{source} is no saved data set: give a folder of save_to_disk, Parquet files, "
                "or hf:ID for one of the hub"
            )
    except FileNotFoundError:
        raise
    except Exception as error:
        # The library raises its own and its dependencies' errors; all mean that it cannot be opened.
        raise ValueError(f"the data set {source} cannot be opened: {one_line(error, 300)}") from None
    return dict(data) if isinstance(data, datasets.DatasetDict) else {str(data.split or "all"): data}


@contextmanager
def _plainly_named(path: Path) -> Iterator[Path]:
    """Give a file or folder of Parquet under a name that the library does not take for a pattern.

    Links stand in for the files while the library copies them into its cache.
    """
    inside = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not any(_PATTERN_SIGNS & set(str(file)) for file in inside):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="mghft-import-") as folder:
        root = Path(folder)
        for number, file in enumerate(inside):
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            plain = re.sub(r"[^A-Za-z0-9._/-]", "_", name)
            link = root / plain
            if link.exists():
                link = link.with_name(f"{link.stem}-{number}{link.suffix}")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.absolute())
        yield root if path.is_dir() else link


def _choose_columns(splits: Mapping[str, Any], wanted: Columns, source: str) -> Columns:
    import datasets

    data = next(iter(splits.values()))
    features = data.features
    header = list(features)
    available = f"(it has: {', '.join(header)})"
    for role, name in vars(wanted).items():
        if name is not None and name not in header:
            raise ValueError(f"the data set {source} has no column '{name}' for --{role} {available}")
    images = [name for name in header if isinstance(features[name], datasets.Image)]
    if not images:
        # Written by pandas, polars or Spark: bytes, or the hub's struct of bytes and path without its name.
        images = [name for name in header if _holds_bytes(features[name])]
        if wanted.image is None:
            images = [name for name in images if _begins_with_images(data, name)]
    image = wanted.image or next(iter(images), None)
    if image is None or image not in images:
        raise ValueError(
            f"the data set {source} has no column of images {available}: it needs one of the type Image, or "
            "with the bytes of image files"
        )
    classes = [name for name in header if isinstance(features[name], datasets.ClassLabel)]
    usual = find_column(header, ("label", "labels", *LABEL_COLUMNS))
    label = wanted.label or (classes[0] if len(classes) == 1 else usual)
    if label is None:
        raise ValueError(
            f"the data set {source} has no column that is clearly the label {available}: name it with --label"
        )
    if not isinstance(features[label], datasets.ClassLabel | datasets.Value):
        raise ValueError(f"the column '{label}' of the data set {source} holds no single label in each row")
    return Columns(image, label, wanted.text or find_column(header, TEXT_COLUMNS))


def _holds_bytes(feature: Any) -> bool:
    """Return whether a column's cells are bytes, or structs with a field `bytes`."""
    if isinstance(feature, Mapping):
        return "bytes" in feature and _holds_bytes(feature["bytes"])
    return getattr(feature, "dtype", None) in ("binary", "large_binary")


def _begins_with_images(data: Any, name: str) -> bool:
    """Return whether the first cell of a column that is not empty is an image file."""
    for row in data.select_columns([name]).select(range(min(len(data), _PEEKED_AT))):
        cell = row[name]
        content = cell.get("bytes") if isinstance(cell, Mapping) else cell
        if content:
            return _image_suffix(content)[0] is not None
    return False


def _read_rows(data: Any, columns: Columns) -> Iterator[tuple[dict[str, Any] | None, Any, Any]]:
    """Yield image (bytes and path, not decoded), label and text of every row."""
    import datasets

    names = [name for name in (columns.image, columns.label, columns.text) if name]
    for row in data.select_columns(names).cast_column(columns.image, datasets.Image(decode=False)):
        yield row[columns.image], row[columns.label], row[columns.text] if columns.text else None


def _label_name(label: Any, names: list[str]) -> str:
    """Return a label as text; the hub's -1 for a row without one is the empty text."""
    if names and isinstance(label, int):
        return names[label] if 0 <= label < len(names) else ""
    return as_text(label)


def _image_suffix(content: bytes | None) -> tuple[str | None, str]:
    """Return the suffix for an image's file, or None and why it cannot be used."""
    if not content:
        # A path in a stranger's table may be any file of this machine.
        return None, "the data set does not hold the image itself"
    if kind := sticker_kind(content):
        # Not opened: their libraries may be absent here, and the bytes are kept as they are.
        is_packed = kind != "lottie" or content.startswith(b"\x1f\x8b")
        return _STICKER_SUFFIXES[kind] if is_packed else ".json", ""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return _SUFFIXES.get(str(image.format), f".{str(image.format).lower()}"), ""
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None, "its image cannot be read"


def _write_table(path: Path, table: list[_TableRow]) -> None:
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_TableRow._fields)
    rows.writerows(table)
    write_text(path, text.getvalue())


def _write_card(path: Path, source: str, imported: Imported) -> None:
    text = "text" if imported.columns.text else "null"
    images = plural(imported.rows, "image")
    lines = [
        "---",
        yaml_line("pretty_name", source),
        "license: unknown",
        "task_categories:",
        "- image-classification",
        "mghft:",
        "  adapter: table",
        f"  file: {TABLE}",
        f"  columns: {{path: path, label: label, split: split, text: {text}}}",
        f"  {yaml_line('labels', imported.labels)}",
        "  split_file: mghft-split.csv",
        "---",
        f"# {one_line(valid_utf8(source))}",
        "",
        f"{images}, written by `mghft data import`. The licence is that of the source.",
        "",
    ]
    write_text(path, "\n".join(lines))
