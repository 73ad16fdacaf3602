"""Descriptions made for the released MGHFT code, as a run folder; the way back is annotations_mg.py.

The released code splits a text at its markers and needs exactly four, for the model's four stages in order. A
row that breaks this becomes a failed row with the reason; its text stays in the column `raw`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.exports.mghft_annotations import MARKERS
from mghft.pipeline.files import write_json, write_text
from mghft.pipeline.images.decode import ImageTransform
from mghft.pipeline.images.load import Loaded
from mghft.pipeline.runs.lock import lock_run
from mghft.pipeline.runs.manifest import fingerprint, open_run
from mghft.pipeline.runs.readme import front_matter
from mghft.pipeline.runs.rows import start_row
from mghft.pipeline.runs.shards import next_shard_path, shard_paths, write_shard
from mghft.pipeline.runs.status import run_status
from mghft.pipeline.text import printable
from mghft.pipeline.views import VIEWS, ViewError, check_view, views_schema

_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_SPLITTER = re.compile("({})".format("|".join(map(re.escape, MARKERS.values()))))
# What stands between a marker and its text: our own "is", a plural's "s are", a colon.
_LINK = re.compile(r"s?\s*(?:(?:is|are)\b|:)?\s*")
_SHARD_ROWS = 4096
_NAMED = 3
# Columns of a row that only a describe run can fill.
_UNKNOWN = ("finish_reason", "prompt_tokens", "output_tokens")


@dataclass
class Imported:
    """What an import came to; every group of rows is counted and its first members are named."""

    rows: int = 0
    ok: int = 0
    groups: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def note(self, group: str, name: str) -> None:
        """Counts something worth knowing."""
        self.groups[group].append(name)

    def lines(self) -> list[str]:
        """The summary, one sentence a line."""
        found = [f"{self.rows} stickers: {self.ok} with four views, {self.rows - self.ok} failed"]
        for group, names in sorted(self.groups.items(), key=lambda item: -len(item[1])):
            named = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
            found.append(f"{group}: {len(names)} ({named})")
        return found


class PatternError(ValueError):
    """A text that the released code cannot use; the message is the reason."""


def split_text(text: str) -> dict[str, str]:
    """The four views of one text, by the rule of the released parser and the order of the model's stages.

    Text before the first marker is no part of a view, as there. The word that ties a marker to its text
    ("is", "are", a colon) is taken off.

    Raises:
        PatternError: not exactly four markers, another order, or an empty view.
    """
    parts = _SPLITTER.split(text)
    markers, texts = parts[1::2], parts[2::2]
    if len(markers) != len(MARKERS):
        counts = Counter(markers)
        odd = [f"{marker} {counts[marker]} times" for marker in MARKERS.values() if counts[marker] != 1]
        raise PatternError(f"the text has {len(markers)} markers, not four: {', '.join(odd)}")
    names = {marker: view for view, marker in MARKERS.items()}
    order = [names[marker] for marker in markers]
    if order != list(MARKERS):
        raise PatternError(f"the markers are in the order {', '.join(order)}, not {', '.join(MARKERS)}")
    views = {}
    for view, part in zip(MARKERS, texts, strict=True):
        link = _LINK.match(part)
        views[view] = check_view(view, part[link.end() if link else 0 :])
    return {view: views[view] for view in VIEWS}


def import_annotations(annotations: Path, corpus: Corpus, out: Path) -> Imported:
    """Writes a run folder with one row for every sticker of the corpus.

    Args:
        annotations: a folder with train.json, val.json or test.json, or one above it
            (`Annotations_mg/image-level` is looked for), or one such file.
        corpus: whose stickers the rows are of, found by topic (their folder's name) and file name.
        out: a new run folder, or an empty one.

    Raises:
        FileNotFoundError: no annotation file is there.
        ValueError: a file is no JSON of the expected shape, no row fits the corpus, or `out` holds a run.
    """
    files = find_files(annotations)
    places = _places(corpus)
    report = Imported()
    found: dict[str, tuple[dict[str, Any], str]] = {}
    for path, split in files.items():
        for number, row in enumerate(_read(path)):
            where = f"{path.name}, row {number}"
            sticker = _sticker(row, places, split, where, report)
            if sticker is None:
                continue
            if sticker.id in found:
                report.note("further rows of a sticker that has one already, left out", where)
                continue
            found[sticker.id] = (row, where)
    if not found:
        raise ValueError(
            f"no row of {annotations} is of a sticker of the corpus {corpus.card.name}: "
            "they belong to another corpus"
        )
    rows = [_row(sticker, found.get(sticker.id), report) for sticker in corpus.stickers]
    _write(out, _manifest(corpus, files), rows)
    report.rows, report.ok = len(rows), sum(row["status"] == "ok" for row in rows)
    _write_card(out, corpus, report)
    return report


def find_files(annotations: Path) -> dict[Path, str | None]:
    """Annotation files and the split that their name speaks of (None: any)."""
    if annotations.is_file():
        return {annotations: _SPLITS.get(annotations.stem)}
    tried = [annotations, annotations / "image-level", annotations / "Annotations_mg" / "image-level"]
    for folder in tried:
        files = {
            path: split for name, split in _SPLITS.items() if (path := folder / f"{name}.json").is_file()
        }
        if files:
            return dict(files)
    raise FileNotFoundError(
        f"there is no train.json, val.json or test.json in {annotations} or its Annotations_mg/image-level: "
        "give the folder that holds them"
    )


def _read(path: Path) -> list[Any]:
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


def _places(corpus: Corpus) -> dict[tuple[str, str], list[Sticker]]:
    """Stickers by topic and file name, which is all that an annotation says of its image."""
    places: defaultdict[tuple[str, str], list[Sticker]] = defaultdict(list)
    for sticker in corpus.stickers:
        path = PurePosixPath(printable(sticker.path))
        places[path.parent.name, path.name].append(sticker)
        if sticker.topic is not None and sticker.topic != path.parent.name:
            places[sticker.topic, path.name].append(sticker)
    return places


def _sticker(
    row: Any,
    places: Mapping[tuple[str, str], list[Sticker]],
    split: str | None,
    where: str,
    report: Imported,
) -> Sticker | None:
    """Whose row it is, or None where that cannot be known; what is odd is noted."""
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("topic", "file_name")):
        report.note("rows without a topic and a file name, left out", where)
        return None
    name = f"{row['topic']}/{row['file_name']}"
    here = places.get((printable(row["topic"]), printable(row["file_name"])), [])
    if len(here) > 1:
        here = [sticker for sticker in here if sticker.split == split]
    if not here:
        report.note("rows of no sticker of the corpus, left out", printable(name))
        return None
    if len(here) > 1:
        report.note("rows that fit several stickers, left out", printable(name))
        return None
    if split is not None and here[0].split != split:
        report.note("rows in the file of another split than the corpus'", here[0].id)
    anno = row.get("anno")
    if not isinstance(anno, int | float) or here[0].label is None or anno - 1 != here[0].label:
        report.note("rows with another label than the corpus'", here[0].id)
    return here[0]


def _row(sticker: Sticker, found: tuple[dict[str, Any], str] | None, report: Imported) -> dict[str, Any]:
    """The row of a sticker; label, split and text are the corpus' own."""
    nothing = Loaded(None, None, None, "the annotation files have no row of this sticker")
    row: dict[str, Any] = {**start_row(sticker, nothing, False), **dict.fromkeys(_UNKNOWN)}
    if found is None:
        report.note("stickers without a row, failed", sticker.id)
        return row
    text = found[0].get("text")
    if not isinstance(text, str):
        report.note("rows whose text is missing or no text, failed", sticker.id)
        return {**row, "error": f"the annotation has no text ({found[1]})"}
    row["raw"] = text.encode("utf-8", "replace").decode("utf-8")
    try:
        views = split_text(text)
    except PatternError as error:
        report.note("rows that break the rule of four markers in order, failed", sticker.id)
        return {**row, "error": str(error)}
    except ViewError as error:
        report.note("rows with an unusable view, failed", sticker.id)
        return {**row, "error": str(error)}
    if _SPLITTER.split(text)[0].strip():
        report.note("texts with words before the first marker, which the released code drops too", sticker.id)
    return {**row, **views, "status": "ok", "error": None}


def _manifest(corpus: Corpus, files: Mapping[Path, str | None]) -> dict[str, Any]:
    """Says where the texts came from; what only a describe run knows is null."""
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


def _write(out: Path, manifest: Mapping[str, Any], rows: list[dict[str, Any]]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with lock_run(out, None):
        if shard_paths(out):
            raise ValueError(f"the folder {out} holds a run already: give another with --out")
        open_run(out, manifest, alone=True)
        for start in range(0, len(rows), _SHARD_ROWS):
            write_shard(next_shard_path(out), rows[start : start + _SHARD_ROWS], manifest["fingerprint"])
        write_json(out / "stats.json", run_status(out))


def _write_card(out: Path, corpus: Corpus, report: Imported) -> None:
    lines = [
        *front_matter(f"Imported descriptions of {corpus.card.title}"),
        "",
        f"# Imported descriptions of {corpus.card.title} in four views",
        "",
        "Read by `mghft data import-mg` from annotation files of the released MGHFT code (`manifest.json` "
        "holds their hashes). Which model wrote the texts, and from which prompt, the files do not say.",
        "",
        *(f"- {line}" for line in report.lines()),
        "",
    ]
    write_text(out / "README.md", "\n".join(lines))
