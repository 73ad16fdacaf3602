"""The audit beside the shards of a run: a row per sticker and view, which training can leave views out by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.files import write_atomically
from mghft.train.data.descriptions import Descriptions

# No shard: `datasets` and `read_descriptions` take descriptions-*.parquet alone.
SIDECAR = "audit.parquet"
SCHEMA = pa.schema(
    [
        ("sticker_id", pa.string()),
        ("view", pa.string()),
        ("picture_rank", pa.float64()),
        ("agreement_rank", pa.float64()),
        ("names_label", pa.bool_()),
        ("contradicts", pa.bool_()),
        ("encoder", pa.string()),
    ]
)


def write_sidecar(run: Path, rows: Sequence[dict[str, object]]) -> Path:
    """Write the rows beside the shards, as a whole file; an earlier audit is replaced.

    Returns:
        The file.
    """
    path = run / SIDECAR
    table = pa.Table.from_pylist(list(rows), schema=SCHEMA)
    write_atomically(path, lambda file: pq.write_table(table, file))
    return path


def read_ranks(run: Path) -> dict[tuple[str, str], float]:
    """Return the picture rank by sticker and view, of those that have one.

    Raises:
        FileNotFoundError: the run was not audited.
    """
    path = run / SIDECAR
    if not path.is_file():
        raise FileNotFoundError(f"{run} has no {SIDECAR}: `mghft audit {run} CARD --data ROOT` writes it")
    table = pq.read_table(path, columns=["sticker_id", "view", "picture_rank"])
    return {
        (row["sticker_id"], row["view"]): row["picture_rank"]
        for row in table.to_pylist()
        if row["picture_rank"] is not None
    }


def leave_out_low(
    described: Descriptions, stickers: Sequence[Sticker], views: Sequence[str], run: Path, least: float
) -> Descriptions:
    """Return the descriptions without the views that the audit ranked below `least`; they count as missing.

    What the audit did not rank stays.

    Raises:
        FileNotFoundError: the run was not audited.
    """
    ranks = read_ranks(run)
    keep = np.array([[ranks.get((one.id, view), 1.0) >= least for view in views] for one in stickers])
    texts = [
        tuple(text if kept else "" for text, kept in zip(row, keep_row, strict=True))
        for row, keep_row in zip(described.texts, keep, strict=True)
    ]
    return Descriptions(texts, described.mask & keep)
