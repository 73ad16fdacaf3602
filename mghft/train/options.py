"""Groups of a training's options, for functions that need some and not all.

The configuration itself is flat, for YAML files and options. Each class here holds fields of `TrainConfig`
that are used together, under the same names; `TrainConfig` has a property for each.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Pooling = Literal["last4_masked_mean", "last4_mean", "masked_mean", "cls"]


# What a view reads: its own text; all views, joined; or the row's full text as the released code feeds it.
ViewTexts = Literal["own", "whole", "released"]


# What is trained: MGHFT, or a network that it is compared with.
Network = Literal["mghft", "pvt", "pvt-bert", "lora-v", "lora", "tgca-pvt"]
# Networks that read the text on the sticker.
READS_OWN_TEXT = frozenset({"pvt-bert", "lora", "tgca-pvt"})
# Fields of `model` that only MGHFT has. What a recipe says of them is left out for another network.
OF_MGHFT = frozenset(
    {"views", "stage_views", "view_dropout", "use_text", "last_stage_text_token", "fusion_stages"}
    | {"alignment", "local_fusion", "global_fusion", "text_guided_attention", "local_reattention"}
    | {"alignment_weight", "alignment_temperature", "alignment_divergence_weight"}
)


@dataclass(frozen=True)
class Sources:
    """Sources of stickers, labels and images."""

    card: str
    data: Path | None
    descriptions: Path | None
    images: Literal["files", "shards"]


@dataclass(frozen=True)
class TextOptions:
    """Texts of a run and the encoder that reads them."""

    descriptions: Path
    corrections: Path | None
    view_texts: ViewTexts
    min_picture_rank: float | None
    text_encoder: str
    text_pooling: Pooling
    tune_text_encoder: bool
    standardize_text: bool


@dataclass(frozen=True)
class NetworkOptions:
    """Options that decide the model's configuration, with the card and the width of the encoder."""

    network: Network
    model: Mapping[str, Any]
    text_encoder: str
    use_text: bool
    view_dropout: float
    label_smoothing: float


@dataclass(frozen=True)
class Schedule:
    """The learning rate over the run, but for its peak."""

    epochs: int
    warmup_epochs: float
    warmup_lr: float
    min_lr: float
    lr_changes: Literal["step", "epoch"]


@dataclass(frozen=True)
class Checkpointing:
    """Times of the checkpoints, and how many stay."""

    checkpoint_every_epochs: int
    checkpoint_every_steps: int | None
    keep_checkpoints: int

    def after_step(self, step: int) -> bool:
        """Return whether a checkpoint is due after so many steps of the run, inside an epoch."""
        return self.checkpoint_every_steps is not None and step % self.checkpoint_every_steps == 0

    def after_epoch(self, epoch: int) -> bool:
        """Return whether a checkpoint is due after so many epochs."""
        return epoch % self.checkpoint_every_epochs == 0

    def count(self, epochs: int, steps_per_epoch: int) -> int:
        """Return about how many checkpoints a run writes."""
        count = -(-epochs // self.checkpoint_every_epochs)
        if self.checkpoint_every_steps is not None:
            count += epochs * steps_per_epoch // self.checkpoint_every_steps
        return count


@dataclass(frozen=True)
class Loading:
    """Processes that read and augment images, and how far they are ahead."""

    workers: int
    prefetch: int
    pin_memory: bool


@dataclass(frozen=True)
class Cache:
    """Cache of decoded images and text features."""

    cache_dir: Path | None
    cache_gb: float
    progress: bool

    @property
    def folder(self) -> Path:
        """Return the folder of the cache: the one given, or the default one."""
        return self.cache_dir or default_cache_folder()


def default_cache_folder() -> Path:
    """Return the folder of the cache where none is given: XDG_CACHE_HOME or ~/.cache, below `mghft`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mghft"
