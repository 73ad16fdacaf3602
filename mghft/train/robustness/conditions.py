"""The conditions that a run is judged under: each makes one changed split of the undisturbed one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

from mghft.train.data.image_cache import StickerImages
from mghft.train.data.splits import Split, views_of
from mghft.train.evaluation.opened_run import OpenedRun
from mghft.train.robustness.pictures import (
    BLACK,
    PICTURE_LEVELS,
    DisturbedImages,
    count_transparent,
    on_background,
)
from mghft.train.robustness.texts import (
    across_classes,
    derangement,
    exchange,
    hide_views,
    take_out_label_words,
    views_to_hide,
    within_classes,
)

UNDISTURBED = "undisturbed"


@dataclass(frozen=True)
class Condition:
    """One condition.

    Attributes:
        kind: missing views, another's descriptions, label words, or the disturbance of the picture.
        level: which one of its kind.
        note: how many stickers or texts it touches, where that is not all.
    """

    kind: str
    level: str
    note: str = ""

    @property
    def name(self) -> str:
        """Name in tables."""
        return self.kind if not self.level else f"{self.kind}: {self.level}"


def conditions_of(opened: OpenedRun, split: Split, seed: int) -> Iterator[tuple[Condition, Split]]:
    """Yield each condition that a run can be put under, with the changed split.

    Args:
        opened: the run.
        split: undisturbed.
        seed: of whose descriptions a sticker gets.
    """
    yield Condition(UNDISTURBED, ""), split
    if split.mask is not None:
        yield from _text_conditions(opened, split, seed)
    for level in PICTURE_LEVELS:
        images = cast("StickerImages", DisturbedImages(split.images, level.change))
        yield Condition(level.kind, level.level), replace(split, images=images)
    transparent = count_transparent(split.images)
    if transparent:
        note = f"{transparent} of {len(split.stickers)} pictures have transparency"
        yield (
            Condition("transparency", "on black", note),
            replace(split, images=on_background(split.images, BLACK)),
        )


def _text_conditions(opened: OpenedRun, split: Split, seed: int) -> Iterator[tuple[Condition, Split]]:
    views = views_of(opened.run.config.model)
    for hidden in views_to_hide(views):
        name = "all" if len(hidden) == len(views) else " and ".join(hidden)
        yield Condition("missing views", name), hide_views(split, [views.index(view) for view in hidden])
    count, labels = len(split.stickers), split.labels
    for level, places in (
        ("any other sticker", derangement(count, seed)),
        ("same class", within_classes(labels, seed)),
        ("another class", across_classes(labels, seed)),
    ):
        yield Condition("another sticker's descriptions", level), exchange(split, places)
    changed_split, changed = take_out_label_words(opened, split)
    total = 0 if split.descriptions is None else int(split.descriptions.mask.sum())
    note = f"{changed} of {total} texts hold one"
    yield Condition("label words taken out", "", note), changed_split
