"""The stickers that a file of splits means: by their ids, or by the names that other people give them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mghft.pipeline.corpora.adapters import open_adapter
from mghft.pipeline.corpora.adapters.listing import Listing
from mghft.pipeline.corpora.card import Card, load_card
from mghft.pipeline.corpora.split_files import SplitRow
from mghft.pipeline.corpora.sticker import Sticker


class UnknownName(NamedTuple):
    """A name in a file of splits that no sticker answers to, and that file's name."""

    name: str
    file: str


class IdLookup:
    """The ids of a corpus by the names that other people's files give its stickers."""

    def __init__(self, stickers: Sequence[Sticker], adapter: str) -> None:
        self._ids = {sticker.id for sticker in stickers}
        self._by_name: dict[str, str | None] = {}
        for sticker in stickers:
            for name in _spellings(sticker):
                # Of a name that two stickers answer to, neither is meant for sure.
                is_new = self._by_name.get(name, sticker.id) == sticker.id
                self._by_name[name] = sticker.id if is_new else None
        self._possible_ids = getattr(open_adapter(adapter), "possible_ids", None)

    def find(self, name: str, file: str) -> str | None:
        """Return the id that a name in a file of this name means, None where that is not certain."""
        if name in self._ids:
            return name
        if self._possible_ids is not None:
            ids = [candidate for candidate in self._possible_ids(name, file) if candidate in self._ids]
            if ids:
                return ids[0] if len(ids) == 1 else None
        return self._by_name.get(_plain(name))


def drop_other_variants(card: Card, root: Path, unknown: Sequence[UnknownName]) -> list[UnknownName]:
    """Return the names that are in no variant of a card either: one file of splits serves all variants.

    The other variants are listed one after the other, the whole card first, until every name is found.
    """
    remaining = list(unknown)
    unread = False
    for other in _other_layouts(card):
        if not remaining:
            break
        try:
            listing: Listing = open_adapter(other.adapter).read(other, root)
        except (OSError, ValueError):
            # A copy of one language alone has no table of the other.
            unread = True
            continue
        lookup = IdLookup(listing.stickers, other.adapter)
        left_out = {name for name, _ in listing.skipped}
        remaining = [
            one for one in remaining if one.name not in left_out and lookup.find(one.name, one.file) is None
        ]
    elsewhere = getattr(open_adapter(card.adapter), "is_of_another_variant", None)
    if not unread or elsewhere is None:
        return remaining
    return [one for one in remaining if not elsewhere(card, one.name, one.file)]


def _other_layouts(card: Card) -> Iterator[Card]:
    """Yield the whole card and its variants, but for those that read the same stickers as one before."""
    if not card.variants or not card.source.is_file():
        return
    known = [_layout(card)]
    for reference in (str(card.source), *(f"{card.source}:{variant}" for variant in card.variants)):
        other = load_card(reference)
        if _layout(other) not in known and not _is_within(other, card):
            known.append(_layout(other))
            yield other


def _is_within(other: Card, card: Card) -> bool:
    """Return whether a card reads some of the languages of another and nothing else."""
    if other.met_meme is None or card.met_meme is None:
        return False
    return set(other.met_meme.languages) <= set(card.met_meme.languages)


def _layout(card: Card) -> tuple[object, ...]:
    """Return the fields of a card that decide which stickers it reads."""
    return (card.adapter, card.file, card.columns, card.met_meme and card.met_meme.languages)


def assign_splits(
    rows: Sequence[SplitRow], lookup: IdLookup, source: str
) -> tuple[dict[str, str], list[UnknownName]]:
    """Return the split by sticker id, and the names that belong to no sticker.

    Raises:
        ValueError: an id has two splits.
    """
    split: dict[str, str] = {}
    unknown: list[UnknownName] = []
    by_file: dict[str, list[SplitRow]] = {}
    for row in rows:
        by_file.setdefault(row.file, []).append(row)
    for file, rows_of_file in by_file.items():
        column = _id_column(rows_of_file, lookup)
        for row in rows_of_file:
            name = row.names[min(column, len(row.names) - 1)]
            sticker_id = lookup.find(name, file)
            if sticker_id is None:
                unknown.append(UnknownName(name, file))
            elif split.setdefault(sticker_id, row.split) != row.split:
                raise ValueError(
                    f"{source} puts {sticker_id!r} into {split[sticker_id]} and into {row.split}: "
                    "give the files of one split alone, by a pattern such as 'folder/avg_*_label_E.csv'"
                )
    return split, unknown


def _id_column(rows: Sequence[SplitRow], lookup: IdLookup) -> int:
    """Return which of a row's names is the id: the one that most stickers answer to.

    A column of bare numbers (a row's number, a label) may look like one, so names go first.
    """
    scores = []
    for column in range(max(len(row.names) for row in rows)):
        names = [row.names[column] for row in rows if column < len(row.names)]
        hits = len({lookup.find(name, rows[0].file) for name in names} - {None})
        numbers = all(name.strip().isdecimal() for name in names)
        scores.append((0 if numbers else hits, hits, -column))
    return -max(scores)[2]


def _spellings(sticker: Sticker) -> set[str]:
    paths = {_plain(sticker.id), _plain(sticker.path)}
    names = paths | {PurePosixPath(path).name for path in paths}
    return names | {name.rpartition(".")[0] or name for name in names}


def _plain(name: str) -> str:
    return name.strip().replace("\\", "/").removeprefix("./").casefold()
