"""The search for near duplicates among fingerprints: hashes propose pairs, thumbnails decide."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mghft.pipeline.audit.hashes import SIDE, Fingerprints

# The hash alone at the usual 8 to 10 bits misses re-encoded flat art and takes different faces for one
# (docs/data_quality.md); so it is generous, and the thumbnails are strict.
HASH_BITS = 16
_BLOCK_ROWS = 128
_CHUNK = 4096


class NearPair(NamedTuple):
    """Two of the pictures that were compared, by their places; the rest as in `Pair`."""

    a: int
    b: int
    bits: int
    difference: float
    kind: str


class _Candidates(NamedTuple):
    """Pairs of pictures by their places, and by how many bits their hashes differ: [n] each."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    bits: NDArray[np.int64]


def near_pairs(prints: Fingerprints, rows: NDArray[np.int64], near: float) -> Iterator[NearPair]:
    """Yield near duplicates among the chosen rows; a < b, and both count in `rows`.

    Every pair of hashes is compared, a block of rows at a time by XOR and popcount: 30,000 images are 450
    million pairs. Proposed pairs then pass a bound from 8 x 8 means that is exact, and last the thumbnails.
    """
    hashes, mirrored = prints.hashes[rows], prints.mirrored[rows]
    thumbs = prints.thumbs[rows]
    # In chunks: as floats all thumbnails at once would take four times their memory.
    cells = np.empty((len(thumbs), 2, 8, 8, 3), np.float32)
    for at in range(0, len(thumbs), _CHUNK):
        cells[at : at + _CHUNK] = _cells(thumbs[at : at + _CHUNK].astype(np.float32))
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = hashes[start : start + _BLOCK_ROWS]
        seen: set[tuple[int, int]] = set()
        for kind, others in (("near", hashes), ("mirrored", mirrored)):
            candidates = _candidates(block, others[start:], start)
            for pair in _confirmed(thumbs, cells, candidates, near, kind):
                # A symmetric picture is its own mirror image: once is enough.
                if (pair.a, pair.b) not in seen:
                    seen.add((pair.a, pair.b))
                    yield pair


def _candidates(block: NDArray[np.uint64], others: NDArray[np.uint64], start: int) -> _Candidates:
    """Pairs within HASH_BITS, of the whole pictures or of the trimmed ones; `others` begin with the block."""
    bits = np.bitwise_count(block[:, None, 0] ^ others[None, :, 0])
    np.minimum(bits, np.bitwise_count(block[:, None, 1] ^ others[None, :, 1]), out=bits)
    a, b = np.nonzero(bits <= HASH_BITS)
    later = b > a
    a, b = a[later], b[later]
    return _Candidates(a + start, b + start, bits[a, b].astype(np.int64))


def _confirmed(
    thumbs: NDArray[np.uint8],
    cells: NDArray[np.float32],
    candidates: _Candidates,
    near: float,
    kind: str,
) -> Iterator[NearPair]:
    """Return the pairs whose thumbnails, whole or trimmed, differ by at most `near`."""
    across = slice(None, None, -1 if kind == "mirrored" else 1)
    for at in range(0, len(candidates.a), _CHUNK):
        a, b, bits = (column[at : at + _CHUNK] for column in candidates)
        # |mean of differences| <= mean of |differences|: nothing is lost here.
        bound = np.abs(cells[a] - cells[b][:, :, :, across]).mean(-1).max((2, 3)).min(1)
        kept = np.flatnonzero(bound <= near)
        a, b, bits = a[kept], b[kept], bits[kept]
        apart = np.abs(thumbs[a].astype(np.float32) - thumbs[b][:, :, :, across])
        difference = _cells(apart).mean(-1).max((2, 3)).min(1)
        for i in np.flatnonzero(difference <= near):
            yield NearPair(int(a[i]), int(b[i]), int(bits[i]), round(float(difference[i]), 2), kind)


def _cells(thumbs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of 8 x 8 cells: [n, 2, 32, 32, 3] to [n, 2, 8, 8, 3]."""
    cell = SIDE // 8
    means: NDArray[np.float32] = thumbs.reshape(len(thumbs), 2, 8, cell, 8, cell, 3).mean((3, 5))
    return means
