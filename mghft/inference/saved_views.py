"""Views out of a run of descriptions, found by the picture's bytes; an interpreter that asks no model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from mghft.pipeline.describe.live import LiveViews
from mghft.pipeline.runs.corrections import open_corrections
from mghft.pipeline.runs.shards import read_descriptions
from mghft.pipeline.views import VIEWS

_COLUMNS = ("image_sha256", "status", "error", *VIEWS)


class SavedViews:
    """The views of a run of `mghft describe` by the SHA-256 of the picture's file, wherever it lies now.

    Memory: the texts as Arrow columns and some hundred bytes a sticker.
    """

    def __init__(self, run_folder: Path, corrections: Path | None = None) -> None:
        """Read the run, and lay corrections over it.

        Raises:
            FileNotFoundError: there is no such run.
            ValueError: it is damaged, or its rows say no hashes, as those of imported annotations.
        """
        table: pa.Table = read_descriptions(run_folder).select(["sticker_id", *_COLUMNS])
        if (laid_over := open_corrections(corrections, run_folder)) is not None:
            rows = [laid_over.lay_over(row) for row in table.to_pylist()]
            table = pa.Table.from_pylist(rows, table.schema)
        self._run_folder, self._table = run_folder, table
        self._rows: dict[bytes, int] = {}
        for row, digest in enumerate(table.column("image_sha256").to_pylist()):
            # Equal pictures under two names: the first that has views.
            if digest is None:
                continue
            before = self._rows.get(key := bytes.fromhex(digest))
            if before is None or not self._described(before):
                self._rows[key] = row
        if not self._rows:
            raise ValueError(
                f"the run {run_folder} says no hashes of its pictures (imported annotations have none): "
                "judge it with `mghft eval`, or describe the pictures with --model"
            )

    def describe(
        self, pictures: Sequence[bytes], texts: Sequence[str | None] | None = None
    ) -> list[LiveViews]:
        """Return the views of pictures, in their order; one that the run lacks, or that failed, says so."""
        return [self._find(content) for content in pictures]

    def close(self) -> None:
        """Do nothing: nothing is held."""

    def _described(self, row: int) -> bool:
        return bool(self._table.column("status")[row].as_py() == "ok")

    def _find(self, content: bytes) -> LiveViews:
        row = self._rows.get(hashlib.sha256(content).digest())
        if row is None:
            return LiveViews({}, f"the run {self._run_folder} has no description of this picture")
        values = {name: self._table.column(name)[row].as_py() for name in _COLUMNS}
        if values["status"] != "ok":
            return LiveViews({}, f"described without success: {values['error']}")
        return LiveViews({view: values[view] for view in VIEWS if values[view]})
