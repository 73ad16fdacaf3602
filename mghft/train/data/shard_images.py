"""A corpus without its folder: labels, splits and images out of the shards of `describe --embed-images`.

A Parquet shard is compressed column by column, so that one image costs as much as all; the bytes of a split
are therefore copied once into one file of the cache folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mghft.pipeline.corpora.card import Card
from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.files import write_atomically, write_json
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import MAX_FILE_BYTES
from mghft.pipeline.runs.shards import IMAGE_FIELD, iterate_shards, read_descriptions, shard_paths
from mghft.pipeline.text import printable

_COLUMNS = ["sticker_id", "path", "split", "label", "label_name", "text"]


def shard_corpus(card: Card, run: Path) -> Corpus:
    """Return the stickers that a run describes, sorted by id; they have no subset and no topic.

    Raises:
        FileNotFoundError, ValueError: the run does not exist, or its labels are not the card's.
    """
    stickers = [
        Sticker(
            id=row["sticker_id"],
            path=row["path"],
            split=row["split"],
            label=row["label"],
            label_name=row["label_name"],
            text=row["text"],
        )
        for row in read_descriptions(run).select(_COLUMNS).to_pylist()
    ]
    names = dict(enumerate(card.labels))
    for sticker in stickers:
        if sticker.label is not None and names.get(sticker.label) != sticker.label_name:
            raise ValueError(
                f"the sticker {sticker.id!r} in {run} has the label {sticker.label_name!r} as number "
                f"{sticker.label}, which the card {card.name} lacks: give the card it was described with"
            )
    return Corpus(card, run, sorted(stickers, key=lambda sticker: sticker.id))


def image_hashes(run: Path) -> dict[str, str | None]:
    """Return the SHA-256 of every image in shards that embed them; None where it could not be read.

    Raises:
        ValueError: a shard is damaged or embeds no images.
    """
    if any(IMAGE_FIELD.name not in pq.read_schema(path).names for path in shard_paths(run)):
        raise ValueError(
            f"the shards in {run} hold no images: describe with --embed-images, "
            "or train on the corpus' own files (--data ROOT --set images=files)"
        )
    hashes: dict[str, str | None] = {}
    for _, table in iterate_shards(run, ["sticker_id", "image_sha256"]):
        columns = (table.column(name).to_pylist() for name in ("sticker_id", "image_sha256"))
        hashes.update(zip(*columns, strict=True))
    return hashes


class ShardImages:
    """The embedded images of some stickers, each compared with its row's SHA-256 when it is copied."""

    def __init__(
        self, run: Path, stickers: Sequence[Sticker], hashes: Mapping[str, str | None], *, folder: Path
    ) -> None:
        """
        Args:
            run: folder of the shards.
            hashes: of the run, as `image_hashes` reads them.
            folder: where the copy is kept.

        Raises:
            ValueError: a sticker has no row, or its row no image.
        """
        self._run, self._folder = run, folder
        self._ids = [sticker.id for sticker in stickers]
        self._sha256: list[str] = []
        for sticker in self._ids:
            digest = hashes.get(sticker)
            if digest is None:
                raise ValueError(self._lacking(sticker))
            self._sha256.append(digest)
        self._places: list[tuple[int, int]] | None = None
        self._content: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self._ids)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_content": None}

    def facts(self) -> list[Any]:
        """Return what tells these images from others, wherever the shards lie."""
        return ["shards", self._sha256]

    def name(self, index: int) -> str:
        """Return where the image lies, for messages."""
        return f"of {printable(self._ids[index])} in the shards of {self._run}"

    def read(self, index: int) -> bytes:
        """Return the bytes of the image's file.

        Raises:
            ImageError: it is empty, or too large.
            ValueError: a shard's bytes are not those that were described.
        """
        if self._places is None:
            self._places = self._open()
        if self._content is None:
            self._content = np.memmap(self._file(), dtype=np.uint8, mode="r")
        start, size = self._places[index]
        if not 0 < size <= MAX_FILE_BYTES:
            raise ImageError(f"the file has {size} bytes, the limit is {MAX_FILE_BYTES}")
        return self._content[start : start + size].tobytes()

    def _file(self) -> Path:
        key = hashlib.sha256(json.dumps(self.facts()).encode()).hexdigest()
        return self._folder / f"encoded-{key[:24]}.bin"

    def _open(self) -> list[tuple[int, int]]:
        """Return start and length of every image in the copy, which is made if it does not exist."""
        data = self._file()
        index = data.with_suffix(".json")
        if data.is_file() and index.is_file():
            places = [(int(start), int(size)) for start, size in json.loads(index.read_text())]
            if len(places) == len(self) and data.stat().st_size == sum(size for _, size in places):
                return places
        self._folder.mkdir(parents=True, exist_ok=True)
        places = []
        write_atomically(data, lambda file: places.extend(self._copy(file)))
        write_json(index, places)
        return places

    def _copy(self, file: IO[bytes]) -> list[tuple[int, int]]:
        places: dict[int, tuple[int, int]] = {}
        end = 0
        for number, content in self._contents():
            if hashlib.sha256(content).hexdigest() != self._sha256[number]:
                raise ValueError(
                    f"the image {self.name(number)} is not the one that was described (another SHA-256): "
                    "describe the corpus again, or train on its own files"
                )
            places[number] = (end, file.write(content))
            end += len(content)
        return [places[number] for number in range(len(self))]

    def _contents(self) -> Iterator[tuple[int, memoryview]]:
        """Yield index and bytes of every image, shard after shard: those of one shard fit into memory."""
        numbers = {sticker: number for number, sticker in enumerate(self._ids)}
        for _, table in iterate_shards(self._run, ["sticker_id", IMAGE_FIELD.name]):
            for batch in table.to_batches():
                contents = batch.column(IMAGE_FIELD.name).flatten()[0]
                for sticker, content in zip(batch.column("sticker_id").to_pylist(), contents, strict=True):
                    if sticker in numbers:
                        if not content.is_valid:
                            raise ValueError(self._lacking(sticker))
                        yield numbers[sticker], memoryview(content.as_buffer())

    def _lacking(self, sticker: str) -> str:
        return (
            f"the shards in {self._run} hold no image of the sticker {printable(sticker)}: describe it "
            "there, or train on the corpus' own files (--data ROOT --set images=files)"
        )
