"""A worker's share of a run: several processes fill one folder, each with its own stickers and files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Worker:
    """Process `index` of the `count` (from 1) that share the stickers of a run; as text "1of3"."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Worker:
        """Read "i/n".

        Raises:
            ValueError: it is something else, or i is not from 1 to n.
        """
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            raise ValueError(f"must be i/n with i from 1 to n, for example 1/4, not {text!r}")
        return cls(int(index), int(count))

    def __str__(self) -> str:
        return f"{self.index}of{self.count}"

    def owns(self, sticker_id: str) -> bool:
        """Return whether a sticker is in this share: by a hash of its id, so a growing corpus moves none."""
        digest = hashlib.sha256(sticker_id.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8]) % self.count == self.index - 1


def file_prefix(worker: Worker | None) -> str:
    """Return what a worker's file names begin with, "1of3-"; nothing for a process that works alone."""
    return "" if worker is None else f"{worker}-"
