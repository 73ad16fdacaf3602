"""Corrections of views: a table that is laid over a run of descriptions; the run itself is never changed.

One row is one text: sticker (its id, or its file's name where only one sticker has it), view, text, and for
people by and why. An empty text takes the view away. A page writes such tables, and so may anybody.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypedDict

from mghft.pipeline.corpora.adapters.read_table import find_column, read_rows
from mghft.pipeline.files import write_text
from mghft.pipeline.runs.shards import iterate_shards
from mghft.pipeline.text import did_you_mean, first_and_more, plural
from mghft.pipeline.views import VIEWS

COLUMNS = ("sticker", "view", "text", "by", "why")
_NEEDED = COLUMNS[:3]
# As tools of others call them.
_OTHER_NAMES = {"sticker": ("sticker", "sticker_id", "id", "path", "name"), "by": ("by", "author")}


class Correction(NamedTuple):
    """One row of a table; a text of None takes the view away."""

    sticker: str
    view: str
    text: str | None
    by: str = ""
    why: str = ""


class CorrectionsRecord(TypedDict):
    """What a manifest says of corrections: the file, its SHA-256, and how many texts it changes."""

    path: str
    sha256: str
    texts: int


@dataclass(frozen=True)
class Corrections:
    """A table of corrections.

    Attributes:
        path: of the file.
        sha256: of its bytes.
        rows: in the order of the file.
    """

    path: Path
    sha256: str
    rows: tuple[Correction, ...]
    _texts: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict, repr=False)

    def record(self) -> CorrectionsRecord:
        """Return what a manifest says of them."""
        return {"path": str(self.path), "sha256": self.sha256, "texts": len(self.rows)}

    def for_run(self, folder: Path) -> Corrections:
        """Return them by the ids of a run.

        Raises:
            ValueError: a sticker is none of the run's, or its file's name is that of several.
        """
        ids = [
            str(name)
            for _, table in iterate_shards(folder, ["sticker_id"])
            for name in table.column("sticker_id").to_pylist()
        ]
        named = _resolve(self, ids, f"the run {folder}")
        texts: dict[str, dict[str, str | None]] = {}
        for row in self.rows:
            texts.setdefault(named[row.sticker], {})[row.view] = row.text
        return Corrections(self.path, self.sha256, self.rows, texts)

    def lay_over(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of a run with its corrected views.

        A sticker that has a text afterwards counts as described, one that has none as failed.
        """
        texts = self._texts.get(row["sticker_id"])
        if texts is None:
            return dict(row)
        changed = {**row, **{view: text for view, text in texts.items() if view in row}}
        if "status" in row:
            there = any((changed.get(view) or "").strip() for view in VIEWS)
            changed["status"] = "ok" if there else "failed"
            if "error" in row:
                changed["error"] = None if there else "all views were taken away by a correction"
        return changed

    def changes(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Correction, str | None]]:
        """Yield every correction with the text that it replaces, for the rows of a run."""
        wanted = {(self._id_of(row.sticker), row.view): row for row in self.rows}
        for found in rows:
            for view in VIEWS:
                if (correction := wanted.get((found["sticker_id"], view))) is not None:
                    yield correction, found.get(view)

    def _id_of(self, name: str) -> str:
        if name in self._texts:
            return name
        return next(one for one in self._texts if PurePosixPath(one).name == name)


def read_corrections(path: Path) -> Corrections:
    """Read a table: CSV as any program writes it, JSON lines or Parquet.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing, a view is unknown, or a view of a sticker has two texts; the message
            names file and line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"the corrections {path} do not exist")
    content = path.read_bytes()
    header, placed = read_rows(path)
    columns = {name: find_column(header, _OTHER_NAMES.get(name, (name,))) for name in COLUMNS}
    if lacking := [name for name in _NEEDED if columns[name] is None]:
        raise ValueError(
            f"the corrections {path} lack the column {', '.join(lacking)}: the columns are "
            f"{', '.join(COLUMNS)}, of which by and why may be left out"
        )
    found: dict[tuple[str, str], tuple[Correction, str]] = {}
    for where, cells in placed:
        row = _correction(cells, columns, where)
        if row is None:
            continue
        before = found.get((row.sticker, row.view))
        if before is not None and before[0].text != row.text:
            raise ValueError(
                f"{where}: the view {row.view} of {row.sticker!r} has another text at {before[1]}: leave one"
            )
        found[row.sticker, row.view] = (row, where)
    rows = tuple(row for row, _ in found.values())
    return Corrections(path, hashlib.sha256(content).hexdigest(), rows)


def open_corrections(path: Path | None, folder: Path) -> Corrections | None:
    """Read corrections for a run; None where there are none; errors as of `read_corrections` and "
    "`for_run`."""
    return None if path is None else read_corrections(path).for_run(folder)


def write_corrections(path: Path, rows: Sequence[Correction]) -> None:
    """Add rows to a CSV of corrections, or write a new one, as a whole file.

    Every cell is quoted and a byte order mark comes first, so that Excel and `read_corrections` read it.

    Raises:
        ValueError: the file that is there is no such table.
        OSError: it cannot be written; it is as before.
    """
    if path.suffix.lower() in (".parquet", ".jsonl", ".ndjson"):
        raise ValueError(f"{path} is no CSV, and a CSV is what is written: give another name")
    before = read_corrections(path).rows if path.exists() else ()
    kept = {(row.sticker, row.view): row for row in (*before, *rows)}
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    writer.writerows([row.sticker, row.view, row.text or "", row.by, row.why] for row in kept.values())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "\ufeff" + text.getvalue())


def by_author(corrections: Corrections) -> dict[str, int]:
    """Return how many texts each author changed, the busiest first; "" for rows that say none."""
    return dict(Counter(row.by for row in corrections.rows).most_common())


def _correction(cells: Mapping[str, str], columns: Mapping[str, str | None], where: str) -> Correction | None:
    values = {name: cells[column].strip() if column else "" for name, column in columns.items()}
    if not any(values.values()):
        return None
    if not values["sticker"]:
        raise ValueError(f"{where}: the column 'sticker' is empty")
    view = values["view"].lower()
    if view not in VIEWS:
        raise ValueError(f"{where}: there is no view {values['view']!r}{did_you_mean(view, VIEWS)}")
    return Correction(values["sticker"], view, values["text"] or None, values["by"], values["why"])


def _resolve(corrections: Corrections, ids: Sequence[str], what: str) -> dict[str, str]:
    """Return the id of every sticker that is named."""
    known = set(ids)
    by_file = Counter(PurePosixPath(one).name for one in ids)
    file_of = {PurePosixPath(one).name: one for one in ids}
    named: dict[str, str] = {}
    unknown = []
    for name in dict.fromkeys(row.sticker for row in corrections.rows):
        if name in known:
            named[name] = name
        elif by_file[name] == 1:
            named[name] = file_of[name]
        elif by_file[name] > 1:
            raise ValueError(
                f"the corrections {corrections.path} speak of {name!r}, the file name of {by_file[name]} "
                f"stickers of {what}: give the id"
            )
        else:
            unknown.append(name)
    if unknown:
        raise ValueError(
            f"the corrections {corrections.path} speak of {plural(unknown, 'sticker')} that {what} does not "
            f"have: {first_and_more(map(repr, unknown))}"
        )
    twice = [one for one, count in Counter(named.values()).items() if count > 1]
    if twice:
        raise ValueError(
            f"the corrections {corrections.path} call the sticker {twice[0]!r} by two names: use one"
        )
    return named
