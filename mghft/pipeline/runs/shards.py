"""Description shards: their schema, their names, and how they reach the disk whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from mghft.pipeline.files import write_atomically
from mghft.pipeline.runs.worker import Worker, file_prefix
from mghft.pipeline.text import near_paths
from mghft.pipeline.views import VIEWS

SCHEMA = pa.schema(
    [
        pa.field("sticker_id", pa.string(), nullable=False),
        pa.field("image_sha256", pa.string()),
        pa.field("path", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("label", pa.int32()),
        pa.field("label_name", pa.string()),
        pa.field("text", pa.string()),
        *(pa.field(view, pa.string()) for view in VIEWS),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("finish_reason", pa.string()),
        pa.field("prompt_tokens", pa.int32()),
        pa.field("output_tokens", pa.int32()),
        pa.field("raw", pa.string()),
    ]
)
IMAGE_FIELD = pa.field("image", pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())]))
# Of sticker packs alone, so that other corpora's shards stay as they were.
EMOJI_FIELD = pa.field("emoji", pa.string())
FINGERPRINT_KEY = b"mghft.fingerprint"
_NAME = re.compile(r"descriptions-(?:(\d+)of(\d+)-)?(\d{5,})\.parquet")


def shard_paths(folder: Path) -> list[Path]:
    """List the finished shards of a run folder, sorted by name."""
    return sorted(path for path in folder.glob("descriptions-*.parquet") if _NAME.fullmatch(path.name))


def next_shard_path(folder: Path, worker: Worker | None = None) -> Path:
    """Return the first free name; workers that share a folder have names of their own."""
    prefix = f"descriptions-{file_prefix(worker)}"
    numbers = [
        int(match[3])
        for path in shard_paths(folder)
        if (match := _NAME.fullmatch(path.name)) and path.name == f"{prefix}{match[3]}.parquet"
    ]
    return folder / f"{prefix}{max(numbers, default=-1) + 1:05d}.parquet"


def has_emoji(folder: Path) -> bool:
    """Return whether the shards of a run have the column of emoji, as those of sticker packs do."""
    paths = shard_paths(folder)
    return bool(paths) and all(EMOJI_FIELD.name in pq.read_schema(path).names for path in paths)


def write_shard(
    path: Path, rows: Sequence[Mapping[str, Any]], fingerprint: str, *, images: bool = False
) -> None:
    """Write rows as one Parquet file that is complete as soon as it has its name (`files`).

    Args:
        path: final name; an existing file is replaced as a whole.
        rows: dictionaries by column; a column that is not given is null.
        fingerprint: of the run's manifest, kept in the file's metadata.
        images: whether the rows carry the column `image` (struct of bytes and path).
    """
    write_atomically(path, lambda file: write_rows(file, rows, fingerprint, images=images))


def write_rows(
    file: IO[bytes], rows: Sequence[Mapping[str, Any]], fingerprint: str, *, images: bool = False
) -> None:
    """Write rows as Parquet into an open binary file; arguments as in `write_shard`."""
    schema = SCHEMA.append(EMOJI_FIELD) if any("emoji" in row for row in rows) else SCHEMA
    schema = schema.append(IMAGE_FIELD) if images else schema
    metadata = {FINGERPRINT_KEY: fingerprint.encode()}
    if images:
        # Read by `datasets`, which then shows the column as pictures.
        metadata[b"huggingface"] = _hf_features(schema)
    table = pa.Table.from_pylist(list(rows), schema=schema.with_metadata(metadata))
    pq.write_table(table, file, compression="zstd")


def read_shard(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one shard.

    Raises:
        ValueError: the file is no Parquet file with the columns of `SCHEMA`.
    """
    try:
        with pq.ParquetFile(path) as file:
            lacking = [name for name in SCHEMA.names if name not in file.schema_arrow.names]
            if lacking:
                raise ValueError(f"the shard {path} lacks the column {', '.join(lacking)}")
            return file.read(columns=None if columns is None else list(columns))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"the shard {path} cannot be read ({str(error).splitlines()[0]}): move it out of the folder"
        ) from None


def iterate_shards(folder: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[Path, pa.Table]]:
    """Yield the shards of a run one after the other."""
    for path in shard_paths(folder):
        yield path, read_shard(path, columns)


def read_descriptions(folder: str | Path) -> pa.Table:
    """Read all rows of a run as one table (columns of `SCHEMA`, embedded images left out).

    Raises:
        FileNotFoundError: the folder does not exist or holds no shard.
        ValueError: a shard is damaged, or a sticker has more than one row.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"the folder of descriptions {folder} does not exist{near_paths(folder)}: make it "
            "with `mghft describe`"
        )
    tables = [table for _, table in iterate_shards(folder, SCHEMA.names)]
    if not tables:
        raise FileNotFoundError(f"the folder {folder} holds no description shard (descriptions-*.parquet)")
    try:
        # The cast lets shards in that another tool has rewritten (large strings, nullable columns).
        table = pa.concat_tables(
            [t.select(SCHEMA.names).replace_schema_metadata(None).cast(SCHEMA) for t in tables]
        )
    except (pa.ArrowException, ValueError) as error:
        raise ValueError(
            f"a shard in {folder} has other column types than a description shard ({error})"
        ) from None
    ids = table.column("sticker_id")
    if len(ids.unique()) != len(ids):
        raise ValueError(
            f"the folder {folder} has more than one row for a sticker: look at it with `mghft verify`"
        )
    return table


def belongs_to(table: pa.Table, fingerprint: str) -> bool:
    """Return whether a shard's rows are of the run with this fingerprint."""
    return bool((table.schema.metadata or {}).get(FINGERPRINT_KEY) == fingerprint.encode())


def remove_leftovers(folder: Path, worker: Worker | None = None) -> int:
    """Remove temporary files that a killed writer left, a worker only its own shards'; return how many."""
    pattern = ".*.tmp" if worker is None else f".descriptions-{file_prefix(worker)}*.tmp"
    leftovers = list(folder.glob(pattern))
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)


def _hf_features(schema: pa.Schema) -> bytes:
    columns = [
        b'"%b": {"dtype": "%b", "_type": "Value"}' % (column.name.encode(), str(column.type).encode())
        for column in schema
        if column.name != IMAGE_FIELD.name
    ]
    return b'{"info": {"features": {' + b", ".join([*columns, b'"image": {"_type": "Image"}']) + b"}}}"
