"""The splits of a corpus as the model reads them: labels, images, text features."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from mghft.model import MGHFTConfig, TextEncoder
from mghft.model.peers import PeerConfig, TokenEncoder
from mghft.model.peers.token_encoder import TEXT_LENGTH
from mghft.pipeline.corpora.card import Card, load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.settings import first_fault
from mghft.train.data.audit_ranks import leave_out_low
from mghft.train.data.descriptions import (
    DescribedTexts,
    Descriptions,
    labelled_stickers,
    labels_of,
    read_texts,
)
from mghft.train.data.image_cache import StickerImages
from mghft.train.data.shard_images import shard_corpus
from mghft.train.data.text_features import FeatureCache, load_encoder
from mghft.train.data.token_features import TokenFeatures, token_features, topic_numbers
from mghft.train.data.usable_images import check_usable, open_images
from mghft.train.options import READS_OWN_TEXT, Cache, NetworkOptions, Sources, TextOptions


class LabelledSplit(NamedTuple):
    """Stickers of a split, all with a label, and for a run with text their descriptions; no image is open."""

    stickers: list[Sticker]
    descriptions: Descriptions | None

    def at(self, places: Sequence[int]) -> LabelledSplit:
        """Return the stickers at these places alone; itself where these are all."""
        if len(places) == len(self.stickers):
            return self
        described = self.descriptions
        return LabelledSplit(
            [self.stickers[place] for place in places],
            described
            and Descriptions([described.texts[place] for place in places], described.mask[[*places]]),
        )


class TextInputs(TypedDict, total=False):
    """Arguments of the model for the texts of a batch: features or texts, and a mask; none without text."""

    text_features: Tensor
    texts: list[tuple[str, ...]]
    text_mask: Tensor
    text_tokens: Tensor
    topics: Tensor


@dataclass(frozen=True)
class Split:
    """One split in the order of the corpus.

    Attributes:
        labels: [n] label indices.
        features: [n, V, width] text features; None without text and where the encoder is trained along.
        mask: [n, V] bool, False where a view is missing; None without text.
        tokens: of the text on the stickers; None for a network that does not read it.
        topics: [n] numbers, equal for equal topics; None for a network that does not read them.
        left_out: id and reason of stickers of the split whose image cannot be decoded.
    """

    stickers: list[Sticker]
    labels: NDArray[np.int64]
    images: StickerImages
    descriptions: Descriptions | None
    features: Tensor | None
    mask: Tensor | None
    tokens: TokenFeatures | None = None
    topics: Tensor | None = None
    left_out: tuple[tuple[str, str], ...] = ()

    def head(self, count: int) -> Split:
        """Return the first stickers alone."""
        described = self.descriptions
        return dataclasses.replace(
            self,
            stickers=self.stickers[:count],
            labels=self.labels[:count],
            descriptions=described and Descriptions(described.texts[:count], described.mask[:count]),
            features=None if self.features is None else self.features[:count],
            mask=None if self.mask is None else self.mask[:count],
            tokens=self.tokens and self.tokens.head(count),
            topics=None if self.topics is None else self.topics[:count],
        )

    def text_inputs(self, indices: Tensor, device: torch.device) -> TextInputs:
        """Return the model's arguments for a batch beside its images, whichever network it is."""
        if self.mask is None:
            inputs: TextInputs = {}
            if self.tokens is not None:
                inputs["text_tokens"] = self.tokens.of(indices).to(device, non_blocking=True)
            if self.topics is not None:
                inputs["topics"] = self.topics[indices].to(device, non_blocking=True)
            return inputs
        mask = self.mask[indices].to(device, non_blocking=True)
        if self.features is not None:
            return {"text_features": self.features[indices].to(device, non_blocking=True), "text_mask": mask}
        assert self.descriptions is not None
        return {"texts": [self.descriptions.texts[index] for index in indices.tolist()], "text_mask": mask}


@dataclass(frozen=True)
class TrainingData:
    """The splits that a training reads, and the card of their corpus."""

    card: Card
    train: Split
    validation: Split

    def notes(self) -> Iterator[str]:
        """Yield a sentence for every split in which stickers have no description."""
        for name, split in (("train", self.train), ("validation", self.validation)):
            missing = 0 if split.descriptions is None else split.descriptions.missing()
            if missing:
                yield f"{missing} of {len(split.stickers)} stickers of the split {name} have no description"


def open_corpus(sources: Sources) -> Corpus:
    """Read the corpus; without a data folder, that of the shards."""
    card = load_card(sources.card)
    if sources.data is not None:
        return load_corpus(card, sources.data)
    assert sources.descriptions is not None
    return shard_corpus(card, sources.descriptions)


def views_of(model: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the views that a model reads, in its order.

    Args:
        model: fields of its configuration.
    """
    return tuple(model.get("views", MGHFTConfig.model_fields["views"].default))


def read_splits(
    corpus: Corpus, names: Sequence[str], text: TextOptions | None, views: Sequence[str]
) -> dict[str, LabelledSplit]:
    """Read stickers and, for a run with text, descriptions of some splits.

    Args:
        text: None for a run without text.
        views: that the model reads.
    """
    described = None if text is None else read_texts(text.descriptions, views, text.corrections)
    splits = {}
    for name in names:
        stickers = labelled_stickers(corpus, name)
        descriptions = None
        if described is not None and text is not None:
            descriptions = _fed(described, text, stickers)
        splits[name] = LabelledSplit(stickers, descriptions)
    return splits


def _fed(described: DescribedTexts, text: TextOptions, stickers: Sequence[Sticker]) -> Descriptions:
    if text.view_texts == "released":
        return described.released(stickers)
    descriptions = described.of(stickers)
    if text.min_picture_rank is not None:
        descriptions = leave_out_low(
            descriptions, stickers, described.views, text.descriptions, text.min_picture_rank
        )
    return descriptions.whole() if text.view_texts == "whole" else descriptions


def complete_splits(
    splits: Mapping[str, LabelledSplit],
    corpus: Corpus,
    sources: Sources,
    cache: Cache,
    *,
    image_size: int,
    encoder: TextEncoder | None,
    own_text: OwnText | None = None,
    strict: bool = False,
) -> dict[str, Split]:
    """Open the images and text features of splits; they come from the cache where they are in it.

    Stickers whose image cannot be decoded are left out and told, as far as the cache knows them.

    Args:
        image_size: side of the model's images in pixels.
        encoder: frozen; None leaves the features out, for a run without text or one that trains its encoder.
        own_text: for a network that reads the text on the stickers; None for any other.
        strict: an image that cannot be decoded is an error.

    Raises:
        ValueError: as of `check_usable`.
    """
    features = None
    if encoder is not None:
        features = FeatureCache(
            encoder, pooling=encoder.pooling, folder=cache.folder, progress=cache.progress
        )
    completed = {}
    of_splits = {name: split.stickers for name, split in splits.items()}
    for name, images in open_images(of_splits, corpus.root, sources, cache, image_size=image_size).items():
        places = check_usable(images, splits[name].stickers, name, strict=strict)
        stickers, descriptions = splits[name].at(places)
        completed[name] = Split(
            stickers,
            labels_of(stickers),
            images.without_errors(),
            descriptions,
            None if descriptions is None or features is None else features.features(descriptions.texts),
            None if descriptions is None else torch.from_numpy(descriptions.mask),
            own_text and token_features(own_text.encoder, stickers, cache.folder, progress=cache.progress),
            topic_numbers(stickers) if own_text is not None and own_text.topics else None,
            tuple((splits[name].stickers[place].id, reason) for place, reason in images.errors.items()),
        )
    return completed


def load_splits(
    corpus: Corpus,
    names: Sequence[str],
    sources: Sources,
    cache: Cache,
    *,
    text: TextOptions | None,
    views: Sequence[str],
    image_size: int,
    encoder: TextEncoder | None,
    own_text: OwnText | None = None,
) -> dict[str, Split]:
    """Read and complete some splits; arguments as those of `read_splits` and `complete_splits`."""
    splits = read_splits(corpus, names, text, views)
    return complete_splits(
        splits, corpus, sources, cache, image_size=image_size, encoder=encoder, own_text=own_text
    )


class OwnText(NamedTuple):
    """What reads the text on the stickers, and whether their topics are read too."""

    encoder: TokenEncoder
    topics: bool


def open_own_text(network: NetworkOptions, device: torch.device) -> OwnText | None:
    """Load the encoder for the text on the stickers; None where the network does not read it."""
    if network.network not in READS_OWN_TEXT:
        return None
    length = int(network.model.get("text_length", TEXT_LENGTH))
    encoder = load_encoder(network.text_encoder, "last4_masked_mean", device)
    return OwnText(TokenEncoder(encoder, length), network.network == "tgca-pvt")


def resolve_model(
    network: NetworkOptions, *, labels: tuple[str, ...], text_dim: int | None
) -> MGHFTConfig | PeerConfig:
    """Return the model's configuration: preset and overrides of the run, and what card and encoder decide.

    Raises:
        ValueError: a field of `model` is unknown or wrong; the message names it.
    """
    fields: dict[str, Any] = dict(network.model)
    preset = str(fields.pop("preset", "default"))
    fields |= {
        "num_classes": len(labels),
        "use_text": network.use_text,
        "label_smoothing": network.label_smoothing,
        "view_dropout": network.view_dropout,
    }
    if text_dim is not None:
        fields["text_dim"] = text_dim
    if network.network != "mghft":
        return _resolve_peer(preset, network.network, fields)
    try:
        return MGHFTConfig.preset(preset, **fields)
    except ValidationError as error:
        raise ValueError(first_fault(error, "the model configuration", MGHFTConfig)) from None


def _resolve_peer(preset: str, network: str, fields: dict[str, Any]) -> PeerConfig:
    # They follow from the network, and no peer has views to drop.
    fields = {name: value for name, value in fields.items() if name not in ("use_text", "view_dropout")}
    try:
        return PeerConfig.preset(preset, **fields, network=network)
    except ValidationError as error:
        raise ValueError(first_fault(error, "the model configuration", PeerConfig)) from None
