"""Descriptions made for the released MGHFT code, as a run folder; the way back is mghft_annotations.py.

The released code splits a text at its markers and needs exactly four, for the model's four stages in order. A
row that breaks this becomes a failed row with the reason; its text stays in the column `raw`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.exports.marked_text import MARKERS
from mghft.pipeline.exports.mghft_annotations import FILES
from mghft.pipeline.exports.tally import Tally
from mghft.pipeline.files import write_json, write_text
from mghft.pipeline.images.decode import ImageTransform
from mghft.pipeline.images.load import Loaded
from mghft.pipeline.runs.lock import lock_run
from mghft.pipeline.runs.manifest import fingerprint, open_run
from mghft.pipeline.runs.readme import front_matter
from mghft.pipeline.runs.rows import start_row
from mghft.pipeline.runs.shards import next_shard_path, shard_paths, write_shard
from mghft.pipeline.runs.status import run_status
from mghft.pipeline.text import plural, printable, valid_utf8
from mghft.pipeline.views import VIEWS, ViewError, check_view, views_schema

_SPLITTER = re.compile("({})".format("|".join(map(re.escape, MARKERS.values()))))
# What ties a marker to its text: our own "is", a plural's "s are", a colon.
_LINK = re.compile(r"s?\s*(?:(?:is|are)\b|:)?\s*")
_SHARD_ROWS = 4096
# Columns that only a describe run can fill.
_UNKNOWN = ("finish_reason", "prompt_tokens", "output_tokens")


class PatternError(ValueError):
    """A text that the released code cannot use; the message is the reason."""


@dataclass
class Imported:
    """The outcome of an import; rows that are odd or failed are counted, and the first of them named."""

    rows: int = 0
    ok: int = 0
    remarks: Tally = field(default_factory=Tally)

    def lines(self) -> list[str]:
        """Return the summary, one sentence a line."""
        failed = self.rows - self.ok
        stickers = plural(self.rows, "sticker")
        return [f"{stickers}: {self.ok} with four views, {failed} failed", *self.remarks.lines()]


class _Annotation(NamedTuple):
    """A row of a file whose sticker is known; `where` is its place, for messages."""

    text: Any
    where: str


def import_annotations(annotations: Path, corpus: Corpus, out: Path) -> Imported:
    """Write a run folder with one row for every sticker of the corpus.

    Args:
        annotations: a folder with train.json, val.json or test.json, or one above it
            (`Annotations_mg/image-level` is looked for), or one such file.
        corpus: whose stickers the rows are of, found by topic (their folder's name) and file name.
        out: a new run folder, or an empty one.

    Raises:
        FileNotFoundError: no annotation file exists.
        ValueError: a file is no JSON of the expected shape, no row fits the corpus, or `out` holds a run.
    """
    files = find_files(annotations)
    imported = Imported()
    by_sticker = _match_rows(files, corpus, imported.remarks)
    if not by_sticker:
        raise ValueError(
            f"no row of {annotations} is of a sticker of the corpus {corpus.card.name}: "
            "they belong to another corpus"
        )
    rows = [_run_row(sticker, by_sticker.get(sticker.id), imported.remarks) for sticker in corpus.stickers]
    _write_run(out, _manifest(corpus, files), rows)
    imported.rows, imported.ok = len(rows), sum(row["status"] == "ok" for row in rows)
    _write_readme(out, corpus, imported)
    return imported


def find_files(annotations: Path) -> dict[Path, str | None]:
    """Find the annotation files, each with the split that its name speaks of (None: any).

    Raises:
        FileNotFoundError: no such file exists.
    """
    if annotations.is_file():
        split = next((split for split, name in FILES.items() if Path(name).stem == annotations.stem), None)
        return {annotations: split}
    for folder in (annotations, annotations / "image-level", annotations / "Annotations_mg" / "image-level"):
        files: dict[Path, str | None] = {
            folder / name: split for split, name in FILES.items() if (folder / name).is_file()
        }
        if files:
            return files
    raise FileNotFoundError(
        f"there is no train.json, val.json or test.json in {annotations} or its Annotations_mg/image-level: "
        "give the folder that holds them"
    )


def split_text(text: str) -> dict[str, str]:
    """Split one text into its four views by the released parser's rule and the order of the model's stages.

    Text before the first marker belongs to no view, as there. The word that ties a marker to its text
    ("is", "are", a colon) is taken off.

    Raises:
        PatternError: not exactly four markers, or another order.
        ViewError: a view is empty.
    """
    pieces = _SPLITTER.split(text)
    markers, texts = pieces[1::2], pieces[2::2]
    if len(markers) != len(MARKERS):
        counts = Counter(markers)
        wrong = [f"{marker} {counts[marker]} times" for marker in MARKERS.values() if counts[marker] != 1]
        raise PatternError(f"the text has {len(markers)} markers, not four: {', '.join(wrong)}")
    names = {marker: view for view, marker in MARKERS.items()}
    order = [names[marker] for marker in markers]
    if order != list(MARKERS):
        raise PatternError(f"the markers are in the order {', '.join(order)}, not {', '.join(MARKERS)}")
    views = {}
    for view, piece in zip(MARKERS, texts, strict=True):
        link = _LINK.match(piece)
        views[view] = check_view(view, piece[link.end() if link else 0 :])
    return {view: views[view] for view in VIEWS}


def _match_rows(files: Mapping[Path, str | None], corpus: Corpus, remarks: Tally) -> dict[str, _Annotation]:
    """Return the first row of every sticker, by its id."""
    by_place = _stickers_by_place(corpus)
    by_sticker: dict[str, _Annotation] = {}
    for path, split in files.items():
        for number, row in enumerate(_read_file(path)):
            where = f"{path.name}, row {number}"
            sticker = _match_row(row, by_place, split, where, remarks)
            if sticker is None:
                continue
            if sticker.id in by_sticker:
                remarks.add("further rows of a sticker that has one already, left out", where)
            else:
                by_sticker[sticker.id] = _Annotation(row.get("text"), where)
    return by_sticker


def _read_file(path: Path) -> list[Any]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))["annotations"]
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text: save it again as UTF-8") from None
    except (json.JSONDecodeError, KeyError, TypeError, RecursionError):
        rows = None
    if not isinstance(rows, list):
        raise ValueError(
            f"{path} is no JSON object with a list 'annotations': give the released code's files"
        )
    return rows


def _stickers_by_place(corpus: Corpus) -> Mapping[tuple[str, str], list[Sticker]]:
    """Return the stickers by topic and file name, which is all that an annotation says of its image."""
    by_place: defaultdict[tuple[str, str], list[Sticker]] = defaultdict(list)
    for sticker in corpus.stickers:
        path = PurePosixPath(printable(sticker.path))
        by_place[path.parent.name, path.name].append(sticker)
        if sticker.topic is not None and sticker.topic != path.parent.name:
            by_place[sticker.topic, path.name].append(sticker)
    return by_place


def _match_row(
    row: Any,
    by_place: Mapping[tuple[str, str], list[Sticker]],
    split: str | None,
    where: str,
    remarks: Tally,
) -> Sticker | None:
    """Return the sticker of a row, None where it cannot be known; what is odd becomes a remark."""
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("topic", "file_name")):
        remarks.add("rows without a topic and a file name, left out", where)
        return None
    stickers = by_place.get((printable(row["topic"]), printable(row["file_name"])), [])
    if len(stickers) > 1:
        stickers = [sticker for sticker in stickers if sticker.split == split]
    if len(stickers) != 1:
        fitting = "several stickers" if stickers else "no sticker of the corpus"
        remarks.add(f"rows of {fitting}, left out", printable(f"{row['topic']}/{row['file_name']}"))
        return None
    (sticker,) = stickers
    if split is not None and sticker.split != split:
        remarks.add("rows in the file of another split than the corpus'", sticker.id)
    anno = row.get("anno")
    if not isinstance(anno, int | float) or sticker.label is None or anno - 1 != sticker.label:
        remarks.add("rows with another label than the corpus'", sticker.id)
    return sticker


def _run_row(sticker: Sticker, annotation: _Annotation | None, remarks: Tally) -> dict[str, Any]:
    """Return the row of a sticker; label, split and text are the corpus' own."""
    not_loaded = Loaded(None, None, None, "the annotation files have no row of this sticker")
    row: dict[str, Any] = {**start_row(sticker, not_loaded, False), **dict.fromkeys(_UNKNOWN)}
    if annotation is None:
        remarks.add("stickers without a row, failed", sticker.id)
        return row
    if not isinstance(annotation.text, str):
        remarks.add("rows whose text is missing or no text, failed", sticker.id)
        return {**row, "error": f"the annotation has no text ({annotation.where})"}
    row["raw"] = valid_utf8(annotation.text)
    try:
        views = split_text(annotation.text)
    except (PatternError, ViewError) as error:
        is_broken = isinstance(error, PatternError)
        rule = "that break the rule of four markers in order" if is_broken else "with an unusable view"
        remarks.add(f"rows {rule}, failed", sticker.id)
        return {**row, "error": str(error)}
    if _SPLITTER.split(annotation.text)[0].strip():
        remarks.add("texts with words before the first marker, which the released code drops too", sticker.id)
    return {**row, **views, "status": "ok", "error": None}


def _manifest(corpus: Corpus, files: Mapping[Path, str | None]) -> dict[str, Any]:
    """Return a manifest that says where the texts came from; what only a describe run knows is null."""
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    manifest = {
        "format": 1,
        "corpus": {"card": corpus.card.name, "sha256": corpus.fingerprint()},
        "model": {
            "name": "unknown (imported)",
            "revision": None,
            "weights_sha256": None,
            "trust_remote_code": False,
        },
        "prompt": {"name": "unknown (imported)", "sha256": None, "language": "en"},
        "views": list(VIEWS),
        "schema": views_schema(),
        "image": ImageTransform().model_dump(mode="json"),
        "engine": {"name": "import of Annotations_mg", "version": None},
        "attempts": 1,
        "embed_images": False,
        "imported": {"format": "Annotations_mg", "sha256": digests},
    }
    return {"fingerprint": fingerprint(manifest), **manifest}


def _write_run(out: Path, manifest: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with lock_run(out, None):
        if shard_paths(out):
            raise ValueError(f"a run already exists in the folder {out}: give another with --out")
        open_run(out, manifest, alone=True)
        for start in range(0, len(rows), _SHARD_ROWS):
            write_shard(next_shard_path(out), rows[start : start + _SHARD_ROWS], manifest["fingerprint"])
        write_json(out / "stats.json", run_status(out))


def _write_readme(out: Path, corpus: Corpus, imported: Imported) -> None:
    title = f"Imported descriptions of {corpus.card.title}"
    lines = [
        *front_matter(title),
        "",
        f"# {title} in four views",
        "",
        "Read by `mghft data import-mg` from annotation files of the released MGHFT code (`manifest.json` "
        "holds their hashes). Which model wrote the texts, and from which prompt, the files do not say.",
        "",
        *(f"- {line}" for line in imported.lines()),
        "",
    ]
    write_text(out / "README.md", "\n".join(lines))
