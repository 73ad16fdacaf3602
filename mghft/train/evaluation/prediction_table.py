"""predictions.parquet: a row per sticker and system, with the prediction and every label's probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mghft.pipeline.files import write_atomically
from mghft.train.data.splits import Split


def prediction_schema(labels: Sequence[str]) -> pa.Schema:
    """Return the columns; the last are p_LABEL, the probabilities."""
    texts = ("sticker_id", "split", "subset", "system", "true", "predicted")
    numbers = ("confidence", *(f"p_{label}" for label in labels))
    return pa.schema([(name, pa.string()) for name in texts] + [(name, pa.float64()) for name in numbers])


def prediction_table(
    splits: Mapping[str, Split],
    systems: Mapping[str, Mapping[str, NDArray[np.float64]]],
    labels: Sequence[str],
) -> pa.Table:
    """Return one row per sticker and system.

    Args:
        splits: by name.
        systems: by name, then by split, [n, classes] probabilities in the order of the split.
        labels: names in index order.
    """
    schema, tables = prediction_schema(labels), []
    for name, split in splits.items():
        for system, by_split in systems.items():
            probabilities = by_split[name]
            count = len(split.stickers)
            columns = [
                [sticker.id for sticker in split.stickers],
                [name] * count,
                [sticker.subset for sticker in split.stickers],
                [system] * count,
                [sticker.label_name for sticker in split.stickers],
                [labels[best] for best in probabilities.argmax(1)],
                probabilities.max(1),
                *probabilities.T,
            ]
            tables.append(pa.table(columns, schema=schema))
    return pa.concat_tables(tables)


def write_predictions(path: Path, table: pa.Table) -> None:
    """Write the table as a whole file; raises as `write_atomically`."""
    write_atomically(path, lambda file: pq.write_table(table, file))
