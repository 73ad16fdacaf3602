"""Predictions on disk: a Parquet file with a row per sticker, system and seed, which anybody can write.

Columns: `id`, `split`, `label` (the true one), `probabilities` (a struct with a number per label), `system`,
`seed`, and where they are known `subset` and `group` (stickers that are alike, such as a topic, share one).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mghft.pipeline.files import write_atomically

FILE_NAME = "predictions.parquet"
COLUMNS = ("id", "split", "label", "probabilities", "system", "seed")
OPTIONAL = ("subset", "group")
# Half-precision probabilities of a hundred classes sum to 1 within this.
_SUM_TOLERANCE = 0.01


@dataclass(frozen=True)
class Predictions:
    """What one system with one seed says of the stickers of one split.

    Attributes:
        labels: names in the order of the probabilities.
        ids: [n], each once.
        true: [n] indices of the true labels.
        probabilities: [n, classes], rows sum to 1.
        subsets: [n] or None where the file has no such column.
        groups: [n] or None, likewise.
    """

    system: str
    seed: int
    split: str
    labels: tuple[str, ...]
    ids: tuple[str, ...]
    true: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    subsets: tuple[str | None, ...] | None = None
    groups: tuple[str | None, ...] | None = None


def prediction_schema(labels: Sequence[str]) -> pa.Schema:
    """Return the columns of a predictions file of these labels."""
    return pa.schema(
        [
            ("id", pa.string()),
            ("split", pa.string()),
            ("label", pa.string()),
            ("probabilities", pa.struct([(label, pa.float64()) for label in labels])),
            ("system", pa.string()),
            ("seed", pa.int64()),
            ("subset", pa.string()),
            ("group", pa.string()),
        ]
    )


def prediction_table(
    *,
    system: str,
    seed: int,
    split: str,
    ids: Sequence[str],
    true: Sequence[str],
    probabilities: NDArray[np.floating[Any]],
    labels: Sequence[str],
    subsets: Sequence[str | None] | None = None,
    groups: Sequence[str | None] | None = None,
) -> pa.Table:
    """Return the rows of one system, seed and split; several are joined by `pyarrow.concat_tables`.

    Args:
        system, seed, split: the same for all rows.
        ids: [n].
        true: [n] names of the true labels.
        probabilities: [n, classes].
        labels: names in the order of the probabilities.
        subsets, groups: [n], where they are known.
    """
    count = len(ids)
    columns = [
        pa.array(ids, pa.string()),
        pa.array([split] * count, pa.string()),
        pa.array(true, pa.string()),
        pa.StructArray.from_arrays(
            [pa.array(column, pa.float64()) for column in np.asarray(probabilities, np.float64).T],
            list(labels),
        ),
        pa.array([system] * count, pa.string()),
        pa.array([seed] * count, pa.int64()),
        pa.array(subsets if subsets is not None else [None] * count, pa.string()),
        pa.array(groups if groups is not None else [None] * count, pa.string()),
    ]
    return pa.table(columns, schema=prediction_schema(labels))


def write_predictions(path: Path, table: pa.Table) -> None:
    """Write the table as a whole file; raises as `write_atomically`."""
    write_atomically(path, lambda file: pq.write_table(table, file))


def read_predictions(path: Path) -> list[Predictions]:
    """Read a predictions file, ours or anybody's with the same columns.

    `probabilities` may be a struct or a map by label, or a list where the label is its index; one column
    `p_LABEL` per label does as well. `label` may be the index of the label. A folder stands for the file
    predictions.parquet in it.

    Returns:
        One entry per system, seed and split, in the order of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no Parquet file, lacks a column, or a value cannot be; one sentence that names file,
            column and the first id.
    """
    path = _file(path)
    table = _read_table(path)
    ids = _strings(path, table, "id")
    splits, systems = _strings(path, table, "split"), _strings(path, table, "system")
    labels, probabilities = _probabilities(path, table)
    true = _true(path, table, labels, ids)
    _check(path, probabilities, ids)
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
    seeds = _seeds(path, table)
    optional = {name: _optional(table, name) for name in OPTIONAL}
    found = []
    for (system, seed, split), rows in _parts(systems, seeds, splits):
        chosen = tuple(ids[row] for row in rows)
        if len(set(chosen)) < len(chosen):
            twice = Counter(chosen).most_common(1)[0][0]
            raise ValueError(
                f"{path}: id {twice!r} is duplicated in split {split!r} of system {system!r}, seed {seed}: "
                "write every sticker once, and repeats of a training with a seed of their own"
            )
        extra = {
            f"{name}s": None if values is None else tuple(values[row] for row in rows)
            for name, values in optional.items()
        }
        found.append(
            Predictions(system, seed, split, labels, chosen, true[rows], probabilities[rows], **extra)
        )
    return found


def _file(path: Path) -> Path:
    if path.is_dir():
        path = path / FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(f"there are no predictions at {path}: `mghft eval` writes {FILE_NAME}")
    return path


def _read_table(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(
            f"{path} is not a Parquet file, or is damaged: {str(error).splitlines()[0]}"
        ) from error
    wide = any(name.startswith("p_") for name in table.column_names)
    for name in COLUMNS:
        if name not in table.column_names and not (name == "probabilities" and wide):
            raise ValueError(
                f"{path} has no column {name!r}: a predictions file has the columns {', '.join(COLUMNS)}; "
                f"this one has {', '.join(table.column_names) or 'none'}"
            )
    if not table.num_rows:
        raise ValueError(f"{path} holds no predictions: it has 0 rows")
    return table


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the values of a column that pandas wrote as a category."""
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column


def _strings(path: Path, table: pa.Table, name: str) -> list[str]:
    column = _plain(table.column(name))
    if column.null_count:
        raise ValueError(f"{path}: column {name!r} is empty in {column.null_count} of {len(column)} rows")
    try:
        return list(column.cast(pa.string()).to_pylist())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"{path}: column {name!r} holds {column.type}, not text") from error


def _optional(table: pa.Table, name: str) -> list[str | None] | None:
    if name not in table.column_names or (column := _plain(table.column(name))).null_count == len(column):
        return None
    return list(column.cast(pa.string()).to_pylist())


def _seeds(path: Path, table: pa.Table) -> list[int]:
    column = _plain(table.column("seed"))
    try:
        seeds = column.cast(pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"{path}: column 'seed' holds {column.type}, not whole numbers") from error
    if seeds.null_count:
        raise ValueError(f"{path}: column 'seed' is empty in {seeds.null_count} of {len(seeds)} rows")
    return list(seeds.to_pylist())


def _probabilities(path: Path, table: pa.Table) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return the labels and [n, classes]."""
    if "probabilities" not in table.column_names:
        names = [name for name in table.column_names if name.startswith("p_")]
        columns = [table.column(name) for name in names]
        return tuple(name[2:] for name in names), _matrix(path, columns)
    column = table.column("probabilities").combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    kind = column.type
    if column.null_count:
        raise ValueError(f"{path}: column 'probabilities' is empty in {column.null_count} rows")
    if pa.types.is_struct(kind):
        return tuple(field.name for field in kind), _matrix(path, column.flatten())
    if pa.types.is_map(kind):
        rows = [dict(row) for row in column.to_pylist()]
        labels = tuple(dict.fromkeys(label for row in rows for label in row))
        return labels, np.array([[row.get(label) or 0.0 for label in labels] for row in rows], np.float64)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _from_lists(path, table, column)
    raise ValueError(
        f"{path}: column 'probabilities' holds {kind}: write a struct with a number for every "
        "label, a map, or a list"
    )


def _from_lists(path: Path, table: pa.Table, column: pa.Array) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    lengths = set(pc.list_value_length(column).to_pylist())
    if len(lengths) > 1:
        raise ValueError(
            f"{path}: the lists in column 'probabilities' have different lengths: {sorted(lengths)}"
        )
    if not pa.types.is_integer(_plain(table.column("label")).type):
        raise ValueError(
            f"{path}: column 'probabilities' holds lists and 'label' names, so nobody knows which number "
            "belongs to which label: write a struct with a field for every label, or the label as an index"
        )
    width = lengths.pop()
    return tuple(str(i) for i in range(width)), _matrix(path, [column.flatten()]).reshape(len(column), width)


def _matrix(path: Path, columns: Sequence[pa.Array]) -> NDArray[np.float64]:
    """Return the columns side by side; what is null has no probability."""
    try:
        floats = [pc.fill_null(column.cast(pa.float64()), 0.0) for column in columns]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(
            f"{path}: the probabilities are not numbers: {str(error).splitlines()[0]}"
        ) from error
    return np.stack(
        [
            column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
            for column in floats
        ],
        axis=1,
    )


def _true(path: Path, table: pa.Table, labels: tuple[str, ...], ids: Sequence[str]) -> NDArray[np.int64]:
    column = _plain(table.column("label"))
    numbers = {label: i for i, label in enumerate(labels)}
    if pa.types.is_integer(column.type):
        # A struct whose labels are called "0", "1" and so on means the same.
        numbers = {str(i): i for i in range(len(labels))}
    names = _strings(path, table, "label")
    for id_, name in zip(ids, names, strict=True):
        if name not in numbers:
            raise ValueError(
                f"{path}: the label {name!r} of {id_!r} has no probability; there are {', '.join(labels)}"
            )
    return np.array([numbers[name] for name in names], dtype=np.int64)


def _check(path: Path, probabilities: NDArray[np.float64], ids: Sequence[str]) -> None:
    for wrong, why in (
        (~np.isfinite(probabilities).all(axis=1), "is not a number"),
        ((probabilities < 0).any(axis=1), "is below 0: these look like logits, write their softmax"),
        (np.abs(probabilities.sum(axis=1) - 1) > _SUM_TOLERANCE, "does not belong to numbers that sum to 1"),
    ):
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"{path}: a probability of {ids[first]!r} {why} ({int(wrong.sum())} of {len(ids)} rows)"
            )


def _parts(
    systems: Sequence[str], seeds: Sequence[int], splits: Sequence[str]
) -> Iterator[tuple[tuple[str, int, str], NDArray[np.int64]]]:
    """Yield each system, seed and split with the numbers of its rows."""
    rows: dict[tuple[str, int, str], list[int]] = {}
    for row, key in enumerate(zip(systems, seeds, splits, strict=True)):
        rows.setdefault(key, []).append(row)
    for key, numbers in rows.items():
        yield key, np.array(numbers, dtype=np.int64)
