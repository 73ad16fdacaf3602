"""A run as the annotation files of the released MGHFT code: four marked views in one text of limited length.

That code splits the text at its markers, needs exactly four of them, opens `Images/<topic>/<file_name>`, and
cuts what is over 512 BERT tokens from the end, so the last view would be lost first.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypedDict

from mghft.pipeline.corpora.sticker import Corpus, count_splits
from mghft.pipeline.exports.marked_text import MAX_PIECES, CountPieces, load_counter, marked_text
from mghft.pipeline.exports.tables import run_rows
from mghft.pipeline.exports.tally import Tally
from mghft.pipeline.files import check_target, write_atomically
from mghft.pipeline.runs.corrections import Corrections, open_corrections
from mghft.pipeline.runs.manifest import read_manifest
from mghft.pipeline.runs.rows import Row
from mghft.pipeline.text import plural
from mghft.pipeline.views import VIEWS

FILES = {"train": "train.json", "validation": "val.json", "test": "test.json"}
_CLASSES_OF_RELEASED_CODE = 7


class Annotation(TypedDict):
    """One row of an annotation file; `anno` is the label's number from 1."""

    topic: str
    file_name: str
    anno: int
    text: str


@dataclass
class Exported:
    """The outcome of an export.

    Attributes:
        files: path and number of rows.
        skipped: ids of the stickers that are left out, by reason.
        renamed: stickers whose topic is the name of their parent folder, since they do not lie in Images/.
        shortened: stickers that lost words, and `words` how many in all.
        classes: the largest number of a label.
    """

    files: dict[str, int] = field(default_factory=dict)
    skipped: Tally = field(default_factory=Tally)
    renamed: int = 0
    shortened: int = 0
    words: int = 0
    classes: int = 0

    def lines(self) -> list[str]:
        """Return the summary, one sentence a line."""
        lines = [f"{plural(count, 'row')}: {path}" for path, count in self.files.items()]
        if self.shortened:
            texts, words = plural(self.shortened, "text"), plural(self.words, "word")
            lines.append(f"{texts} over {MAX_PIECES} word pieces lost {words}")
        lines += [f"left out, {line}" for line in self.skipped.lines()]
        if self.renamed:
            lines.append(
                f"{plural(self.renamed, 'sticker')} outside Images/<topic>/: the topic is the folder's name, "
                "and the released code looks for the image in Images/<topic>/<file_name>"
            )
        if self.classes > _CLASSES_OF_RELEASED_CODE:
            lines.append(
                f"anno goes up to {self.classes}, the released code knows {_CLASSES_OF_RELEASED_CODE} classes"
            )
        return lines


def export_annotations(
    folder: Path,
    out: Path | None = None,
    *,
    corpus: Corpus | None = None,
    tokenizer: str | None = None,
    force: bool = False,
    corrections: Path | None = None,
) -> Exported:
    """Write `Annotations_mg/image-level/{train,val,test}.json` below `out` (default: the run folder).

    The run is read once per file, so that memory holds one shard and the names of one split.

    Args:
        folder: the run.
        out: where to.
        corpus: whose splits and labels are taken; None takes those of the rows, which are of the day they
            were described.
        tokenizer: as of `load_counter`.
        force: replace existing files.
        corrections: table that is laid over the views; None: none.

    Raises:
        FileNotFoundError: the folder is not a run folder.
        ValueError: a file already exists and `force` is not set, no row is of train, validation or test, a
            shard is damaged, or the tokenizer does not exist.
    """
    read_manifest(folder)
    laid_over = open_corrections(corrections, folder)
    target = (out or folder) / "Annotations_mg" / "image-level"
    for name in FILES.values():
        check_target(target / name, force)
    exported = Exported()
    splits: Counter[str] = Counter()
    usable = 0
    columns = ["sticker_id", "split", "label", "status"]
    for row in _rows(folder, columns, corpus, laid_over, exported.skipped):
        splits[row["split"]] += 1
        usable += row["status"] == "ok" and row["label"] is not None
        if row["split"] not in FILES:
            exported.skipped.add(f"the split {row['split']!r} has no file", row["sticker_id"])
    if not splits.keys() & FILES.keys():
        raise ValueError(_no_split(folder, splits, corpus))
    if not usable:
        raise ValueError(
            f"no row of {folder} has both a description and a label, so there is nothing to export: "
            f"'mghft failed {folder}' lists what failed, 'mghft data check' what has no label"
        )
    count_pieces = load_counter(tokenizer)
    target.mkdir(parents=True, exist_ok=True)
    places: set[tuple[str, str]] = set()
    for split, name in FILES.items():
        before = len(places)
        annotations = _annotations(folder, split, corpus, count_pieces, places, exported, laid_over)
        write_atomically(target / name, partial(write_annotations, annotations=annotations))
        exported.files[str(target / name)] = len(places) - before
    return exported


def _rows(
    folder: Path,
    columns: Sequence[str],
    corpus: Corpus | None,
    corrections: Corrections | None,
    strangers: Tally | None = None,
) -> Iterator[Row]:
    """Yield the rows of a run, split and label as the corpus has them today, if one is given.

    Rows of no sticker of the corpus are left out, and counted where there is a tally.
    """
    stickers = None if corpus is None else {sticker.id: sticker for sticker in corpus.stickers}
    for row in run_rows(folder, columns, corrections=corrections):
        if stickers is not None:
            sticker = stickers.get(row["sticker_id"])
            if sticker is None:
                if strangers is not None:
                    strangers.add("not in the corpus", row["sticker_id"])
                continue
            row["split"], row["label"] = sticker.split, sticker.label
        yield row


def _no_split(folder: Path, splits: Mapping[str, int], corpus: Corpus | None) -> str:
    """Return why no row goes into a file, and the way out."""
    if corpus is None:
        found = count_splits(splits) or "no row at all"
        return (
            f"the rows of {folder} are of no split with a file (train, validation, test; there is: {found}): "
            "rows keep the split of the day they were described; if the corpus has splits now, give it too: "
            f"mghft export {folder} CARD --data ROOT --format annotations-mg"
        )
    if not splits:
        return f"no row of {folder} is of a sticker of the corpus {corpus.card.name}: give its own card"
    return (
        f"the corpus {corpus.card.name} has no split with a file (train, validation, test; there is: "
        f"{count_splits(splits)}): 'mghft data split' makes splits, CARD@FILE takes them from a file"
    )


def write_annotations(file: IO[bytes], annotations: Iterable[Annotation]) -> None:
    """Write one row a line, in ASCII: the released code opens the file in the machine's own encoding."""
    file.write(b'{"annotations": [')
    for number, annotation in enumerate(annotations):
        line = json.dumps(annotation, ensure_ascii=True).encode()
        file.write((b",\n" if number else b"\n") + line)
    file.write(b"\n]}\n")


def _annotations(
    folder: Path,
    split: str,
    corpus: Corpus | None,
    count_pieces: CountPieces,
    places: set[tuple[str, str]],
    exported: Exported,
    corrections: Corrections | None,
) -> Iterator[Annotation]:
    """Yield the annotations of a split; `places` and `exported` are brought up to date."""
    columns = ["sticker_id", "path", "split", "label", "status", *VIEWS]
    for row in _rows(folder, columns, corpus, corrections):
        if row["split"] != split:
            continue
        path = PurePosixPath(row["path"])
        place = (path.parent.name, path.name)
        views, label = _views(row), row["label"]
        if row["status"] != "ok" or views is None:
            exported.skipped.add("no description", row["sticker_id"])
        elif label is None:
            exported.skipped.add("no label", row["sticker_id"])
        elif place[0] in ("", ".."):
            exported.skipped.add("no folder that could be the topic", row["sticker_id"])
        elif place in places:
            exported.skipped.add("folder and file name are those of another sticker", row["sticker_id"])
        else:
            places.add(place)
            text, lost = marked_text(views, count_pieces)
            exported.shortened += lost > 0
            exported.words += lost
            exported.renamed += path.parts != ("Images", *place)
            exported.classes = max(exported.classes, label + 1)
            yield {"topic": place[0], "file_name": place[1], "anno": label + 1, "text": text}


def _views(row: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the four views of a row, None where one of them is missing."""
    views = {view: row[view] for view in VIEWS}
    return views if all(views.values()) else None
