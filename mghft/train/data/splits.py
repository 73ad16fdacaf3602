"""Brings together what the model reads of a corpus, split by split: labels, images, text features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from mghft.model import MGHFTConfig, TextEncoder
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.settings import first_fault
from mghft.train.config import TrainConfig
from mghft.train.data.descriptions import Descriptions, join_descriptions, labelled, labels_of, whole_texts
from mghft.train.data.image_cache import FileImages, StickerImages
from mghft.train.data.shard_images import ShardImages, shard_corpus
from mghft.train.data.text_features import default_folder, text_features


@dataclass(frozen=True)
class Split:
    """One split in the order of the corpus.

    Attributes:
        labels: [n] label indices.
        features: [n, V, width] text features; None without text and where the encoder is trained along.
        mask: [n, V] bool, False where a view is missing; None without text.
    """

    stickers: list[Sticker]
    labels: NDArray[np.int64]
    images: StickerImages
    descriptions: Descriptions | None
    features: Tensor | None
    mask: Tensor | None


def cache_folder(config: TrainConfig) -> Path:
    """Where decoded images and text features are kept."""
    return config.cache_dir or default_folder()


def open_corpus(config: TrainConfig) -> Corpus:
    """The corpus that a configuration names; without a data folder, that of the shards."""
    card = load_card(config.card)
    if config.data is not None:
        return load_corpus(card, config.data)
    assert config.descriptions is not None
    return shard_corpus(card, config.descriptions)


def views_of(config: TrainConfig) -> tuple[str, ...]:
    """Views in the model's order."""
    return tuple(config.model.get("views", MGHFTConfig.model_fields["views"].default))


# Stickers of a split and, for a run with text, their descriptions.
Part = tuple[list[Sticker], Descriptions | None]


def read_split(config: TrainConfig, corpus: Corpus, name: str) -> Part:
    """Stickers of a split and, for a run with text, their descriptions; opens no image."""
    stickers = labelled(corpus, name)
    if not config.use_text:
        return stickers, None
    assert config.descriptions is not None
    found = join_descriptions(stickers, config.descriptions, views_of(config))
    return stickers, whole_texts(found) if config.view_texts == "whole" else found


def load_encoder(config: TrainConfig, device: torch.device, tuned: Path | None = None) -> TextEncoder | None:
    """The frozen text encoder, None for a run without text.

    Args:
        device: that computes the features.
        tuned: folder of an encoder that a run has trained, read instead of the configured one.
    """
    if not config.use_text:
        return None
    # Loading takes a second; its bar would stand among the epochs.
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    return TextEncoder.from_pretrained(tuned or config.text_encoder, pooling=config.text_pooling).to(device)


def load_split(
    config: TrainConfig,
    corpus: Corpus,
    name: str,
    *,
    model_config: MGHFTConfig,
    encoder: TextEncoder | None,
) -> Split:
    """Everything of one split, as `complete_split` makes it."""
    part = read_split(config, corpus, name)
    return complete_split(config, corpus, part, model_config=model_config, encoder=encoder)


def complete_split(
    config: TrainConfig,
    corpus: Corpus,
    part: Part,
    *,
    model_config: MGHFTConfig,
    encoder: TextEncoder | None,
) -> Split:
    """What was read, with images and text features; they come from the cache where they are in it.

    Args:
        encoder: frozen; None leaves the features out, for a run without text or one that trains its encoder.
    """
    stickers, descriptions = part
    folder = cache_folder(config)
    images = StickerImages(
        image_source(config, corpus, stickers),
        # Twice the model's size: room for the random crop, and a bound for what the cache holds.
        short_side=2 * model_config.image_size,
        folder=folder,
        limit_gb=config.cache_gb,
        progress=config.progress,
    )
    mask = None if descriptions is None else torch.from_numpy(descriptions.mask)
    features = None
    if descriptions is not None and encoder is not None:
        features, _ = text_features(
            encoder,
            descriptions.texts,
            pooling=config.text_pooling,
            folder=folder,
            progress=config.progress,
        )
    return Split(stickers, labels_of(stickers), images, descriptions, features, mask)


def image_source(config: TrainConfig, corpus: Corpus, stickers: list[Sticker]) -> FileImages | ShardImages:
    """Where the bytes of the images come from."""
    if config.images == "files":
        return FileImages(corpus.root, stickers)
    assert config.descriptions is not None
    return ShardImages(config.descriptions, stickers, folder=cache_folder(config))


def resolve_model(config: TrainConfig, *, labels: tuple[str, ...], text_dim: int | None) -> MGHFTConfig:
    """The model's configuration: preset and overrides of the run, and what follows from card and encoder.

    Raises:
        ValueError: a field of `model` is unknown or wrong; the message names it.
    """
    fields: dict[str, Any] = dict(config.model)
    preset = str(fields.pop("preset", "default"))
    fields |= {
        "num_classes": len(labels),
        "use_text": config.use_text,
        "label_smoothing": config.label_smoothing,
        "view_dropout": config.view_dropout,
    }
    if text_dim is not None:
        fields["text_dim"] = text_dim
    try:
        return MGHFTConfig.preset(preset, **fields)
    except ValidationError as error:
        raise ValueError(first_fault(error, "the model configuration", MGHFTConfig)) from None


def text_of(split: Split, indices: Tensor, device: torch.device, *, tuned: bool) -> dict[str, Any]:
    """The text of a batch as arguments of the model: features of the cache, or the texts themselves."""
    if split.mask is None:
        return {}
    mask = split.mask[indices].to(device, non_blocking=True)
    if tuned:
        assert split.descriptions is not None
        return {"texts": [split.descriptions.texts[index] for index in indices.tolist()], "text_mask": mask}
    assert split.features is not None
    return {"text_features": split.features[indices].to(device, non_blocking=True), "text_mask": mask}
