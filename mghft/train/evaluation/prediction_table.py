"""predictions.parquet of an evaluation: a row per sticker and system, with every label's probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mghft.pipeline.corpora.sticker import alike
from mghft.pipeline.predictions import prediction_table
from mghft.train.data.splits import Split


def prediction_tables(
    splits: Mapping[str, Split],
    systems: Mapping[str, Mapping[str, NDArray[np.float64]]],
    labels: Sequence[str],
    *,
    seeds: Mapping[str, int],
) -> pa.Table:
    """Return one row per sticker and system.

    Args:
        splits: by name.
        systems: by name, then by split, [n, classes] probabilities in the order of the split.
        labels: names in index order.
        seeds: by system; 0 where it is not named.
    """
    return pa.concat_tables(
        prediction_table(
            system=system,
            seed=seeds.get(system, 0),
            split=name,
            ids=[sticker.id for sticker in split.stickers],
            true=[labels[label] for label in split.labels],
            probabilities=by_split[name],
            labels=labels,
            subsets=[sticker.subset for sticker in split.stickers],
            groups=alike(split.stickers),
        )
        for name, split in splits.items()
        for system, by_split in systems.items()
    )
