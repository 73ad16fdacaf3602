"""Systems of several predictions files, brought onto the same stickers, or the reason why that cannot be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mghft.pipeline.predictions import Predictions, read_predictions
from mghft.pipeline.text import first_and_more, plural


@dataclass(frozen=True)
class ComparedSystems:
    """Systems on the same stickers of one split.

    Attributes:
        labels: names in the order of the probabilities.
        ids: [n].
        true: [n] indices of the true labels.
        subsets, groups: [n], None where nothing is known.
        seeds: of each system, in ascending order.
        probabilities: [seeds, n, classes] of each system.
    """

    split: str
    labels: tuple[str, ...]
    ids: tuple[str, ...]
    true: NDArray[np.int64]
    subsets: tuple[str | None, ...]
    groups: tuple[str | None, ...]
    seeds: dict[str, tuple[int, ...]]
    probabilities: dict[str, NDArray[np.float64]]

    def predicted(self, system: str) -> NDArray[np.int64]:
        """Return [seeds, n] label indices."""
        predicted: NDArray[np.int64] = self.probabilities[system].argmax(axis=2)
        return predicted

    def take(self, rows: NDArray[np.bool_]) -> ComparedSystems:
        """Return some of the stickers alone; `rows` is [n]."""
        kept = np.flatnonzero(rows)
        return replace(
            self,
            ids=tuple(self.ids[row] for row in kept),
            true=self.true[kept],
            subsets=tuple(self.subsets[row] for row in kept),
            groups=tuple(self.groups[row] for row in kept),
            probabilities={name: values[:, kept] for name, values in self.probabilities.items()},
        )


def parse_source(argument: str) -> tuple[str | None, Path]:
    """Return name and path of "NAME=PATH", or None and the path; what exists is a path as it is."""
    name, equals, path = argument.partition("=")
    if equals and name and path and not Path(argument).exists():
        return name, Path(path)
    return None, Path(argument)


def read_sources(arguments: Sequence[str]) -> list[Predictions]:
    """Read all predictions of files, folders with predictions.parquet, or NAME=PATH of a file of one system.

    Raises:
        FileNotFoundError, ValueError: as `read_predictions`; NAME= stands before a file of several systems;
            or two files hold different predictions of one system with one seed.
    """
    found: dict[tuple[str, int, str], tuple[Predictions, Path]] = {}
    for argument in arguments:
        name, path = parse_source(argument)
        for predictions in _renamed(read_predictions(path), name, path):
            key = (predictions.system, predictions.seed, predictions.split)
            if key in found and not _same(found[key][0], predictions):
                raise ValueError(
                    f"{found[key][1]} and {path} hold different predictions of {predictions.system!r} "
                    f"with seed "
                    f"{predictions.seed} in split {predictions.split!r}: write NAME={path} for another "
                    f"name, or "
                    "give each training its own seed"
                )
            found.setdefault(key, (predictions, path))
    return [predictions for predictions, _ in found.values()]


def align(
    predictions: Sequence[Predictions],
    split: str,
    *,
    systems: Sequence[str] = (),
    common: bool = False,
) -> tuple[ComparedSystems, int]:
    """Bring the systems of a split onto the same stickers, in the order of the first.

    Args:
        predictions: of `read_sources`.
        split: name.
        systems: names to take; all where empty.
        common: compare on the stickers that all have, where some have more.

    Returns:
        The systems, and how many stickers were left out.

    Raises:
        ValueError: a system or split is not there, or the systems have other stickers, labels or truths.
    """
    chosen = _choose(predictions, split, systems)
    first = chosen[0]
    shared = set.intersection(*(set(one.ids) for one in chosen))
    everything = set.union(*(set(one.ids) for one in chosen))
    if len(shared) < len(everything) and not common:
        raise ValueError(_other_stickers(chosen, shared))
    if not shared:
        raise ValueError(f"the systems have no sticker of the split {split!r} in common")
    ids = tuple(id_ for id_ in first.ids if id_ in shared)
    truth = {id_: first.labels[label] for id_, label in zip(first.ids, first.true, strict=True)}
    by_system: dict[str, dict[int, NDArray[np.float64]]] = {}
    for one in chosen:
        rows = _rows(one, ids)
        _check_truth(one, first, rows, truth)
        columns = np.array([one.labels.index(label) for label in first.labels])
        by_system.setdefault(one.system, {})[one.seed] = one.probabilities[np.ix_(rows, columns)]
    rows = _rows(first, ids)
    nothing: tuple[None, ...] = (None,) * len(first.ids)
    compared = ComparedSystems(
        split=split,
        labels=first.labels,
        ids=ids,
        true=first.true[rows],
        subsets=tuple((first.subsets or nothing)[row] for row in rows),
        groups=tuple((first.groups or nothing)[row] for row in rows),
        seeds={name: tuple(sorted(seeds)) for name, seeds in by_system.items()},
        probabilities={
            name: np.stack([seeds[seed] for seed in sorted(seeds)]) for name, seeds in by_system.items()
        },
    )
    return compared, len(everything) - len(shared)


def _renamed(predictions: list[Predictions], name: str | None, path: Path) -> list[Predictions]:
    if name is None:
        return predictions
    names = list(dict.fromkeys(one.system for one in predictions))
    if len(names) > 1:
        raise ValueError(
            f"{path} holds {plural(names, 'system')} ({first_and_more(names)}), so NAME= cannot name "
            f"them all: "
            "give the file without it, and choose with --system"
        )
    return [replace(one, system=name) for one in predictions]


def _same(first: Predictions, second: Predictions) -> bool:
    return (
        first.ids == second.ids
        and first.labels == second.labels
        and bool(np.allclose(first.probabilities, second.probabilities, atol=1e-6))
    )


def _choose(predictions: Sequence[Predictions], split: str, systems: Sequence[str]) -> list[Predictions]:
    here = [one for one in predictions if one.split == split]
    if not here:
        splits = first_and_more(sorted({one.split for one in predictions}))
        raise ValueError(f"no file has predictions of the split {split!r}: there are {splits}")
    names = list(dict.fromkeys(one.system for one in here))
    for name in systems:
        if name not in names:
            raise ValueError(
                f"there is no system {name!r} in the split {split!r}: there are {', '.join(names)}"
            )
    chosen = [one for one in here if not systems or one.system in systems]
    if systems:
        chosen.sort(key=lambda one: list(systems).index(one.system))
    labels = set(chosen[0].labels)
    for one in chosen:
        if set(one.labels) != labels:
            extra = first_and_more(sorted(set(one.labels) ^ labels))
            raise ValueError(
                f"{one.system!r} and {chosen[0].system!r} have different labels: {extra} in one of them alone"
            )
    return chosen


def _other_stickers(chosen: Sequence[Predictions], shared: set[str]) -> str:
    counts = Counter({f"{one.system!r} seed {one.seed}": len(one.ids) for one in chosen})
    (most, more), (least, fewer) = counts.most_common()[0], counts.most_common()[-1]
    extra = next(id_ for one in chosen for id_ in one.ids if id_ not in shared)
    return (
        f"the systems were not judged on the same stickers: {most} on {more}, {least} on {fewer}, all on "
        f"{len(shared)} ({extra!r} is not among these): evaluate them on one split, or compare with --common "
        f"on the {len(shared)} alone"
    )


def _rows(predictions: Predictions, ids: Sequence[str]) -> NDArray[np.int64]:
    places: Mapping[str, int] = {id_: row for row, id_ in enumerate(predictions.ids)}
    return np.array([places[id_] for id_ in ids], dtype=np.int64)


def _check_truth(
    one: Predictions, first: Predictions, rows: NDArray[np.int64], truth: Mapping[str, str]
) -> None:
    for row in rows:
        id_, label = one.ids[row], one.labels[one.true[row]]
        if truth[id_] != label:
            raise ValueError(
                f"the label of {id_!r} is {truth[id_]!r} to {first.system!r} and {label!r} to "
                f"{one.system!r}: "
                "these are not the same corpus"
            )
