"""Which rows of a run a preview shows: by status, limit or a seeded sample, from ids and classes alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mghft.pipeline.runs.shards import iterate_shards

# So is a sticker without label called in the address of the page.
UNLABELLED = "(none)"


@dataclass(frozen=True)
class Facet:
    """One property of the chosen rows that a reader may filter by.

    Attributes:
        names: its values, in order.
        of: [n] place in `names` for every chosen row.
    """

    names: list[str]
    of: NDArray[np.int64]

    def counts(self) -> list[tuple[str, int]]:
        """Return every value with the number of its rows."""
        found = np.bincount(self.of, minlength=len(self.names)).tolist()
        return list(zip(self.names, found, strict=True))


@dataclass(frozen=True)
class ChosenRows:
    """The rows of a preview, in the order of the shards.

    Attributes:
        candidates: rows that they were chosen from.
        shards: paths with the numbers of the rows in them.
        facets: by name: label, split, status.
    """

    candidates: int
    shards: list[tuple[Path, list[int]]]
    facets: dict[str, Facet]

    @property
    def count(self) -> int:
        """Return how many rows were chosen."""
        return sum(len(numbers) for _, numbers in self.shards)


def choose_rows(
    folder: Path, *, only: str | None, sample: int | None, seed: int, limit: int | None
) -> ChosenRows:
    """Read ids and classes of all rows of a run, some 60 bytes a row, and choose.

    Args:
        folder: the run.
        only: status of the rows; None for any.
        sample: so many are drawn, by ids and seed alone.
        seed: of the sample.
        limit: at most the first so many, of the sample if there is one.

    Raises:
        ValueError: a shard is damaged.
    """
    paths, tables = [], []
    for path, read in iterate_shards(folder, ["sticker_id", "status", "split", "label_name"]):
        paths.append(path)
        tables.append(read.replace_schema_metadata(None))
    starts = np.cumsum([0, *(len(one) for one in tables)])
    if not tables:
        return ChosenRows(0, [], {name: Facet([], np.zeros(0, np.int64)) for name in _FACETS})
    table = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    places = np.arange(len(table))
    if only is not None:
        places = places[pc.equal(table.column("status"), only).to_numpy()]
    candidates = len(places)
    if sample is not None:
        # Code points sort as their UTF-8 bytes do, so this is the order that `describe --sample` draws from.
        order = pc.sort_indices(table.column("sticker_id").take(places)).to_numpy()
        drawn = np.random.default_rng(seed).permutation(len(order))[:sample]
        places = places[np.sort(order[drawn])]
    places = places[:limit]
    facets = {name: _facet(table.column(column).take(places)) for name, column in _FACETS.items()}
    return ChosenRows(candidates, list(_by_shard(paths, starts, places)), facets)


_FACETS = {"label": "label_name", "split": "split", "status": "status"}


def _facet(column: pa.ChunkedArray) -> Facet:
    values = pc.fill_null(column, UNLABELLED)
    names = sorted(values.unique().to_pylist())
    of = pc.index_in(values, value_set=pa.array(names, values.type)).to_numpy()
    return Facet(names, of.astype(np.int64))


def _by_shard(
    paths: Sequence[Path], starts: NDArray[np.int64], places: NDArray[np.int64]
) -> Iterator[tuple[Path, list[int]]]:
    for path, start, end in zip(paths, starts[:-1], starts[1:], strict=True):
        numbers = places[(places >= start) & (places < end)] - start
        if len(numbers):
            yield path, numbers.tolist()
