"""A trained run with its network, splits and transform, ready to predict."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from accelerate import Accelerator  # type: ignore[import-untyped]
from numpy.typing import NDArray
from torch import Tensor

from mghft.model import TextEncoder
from mghft.model.joint import ENCODER_FOLDER, Network, load_network
from mghft.model.peers import TGCAPVT, PeerConfig
from mghft.train.data.described_images import changed_images
from mghft.train.data.sampler import eval_transform
from mghft.train.data.splits import (
    Split,
    load_splits,
    open_corpus,
    open_own_text,
    resolve_model,
    views_of,
)
from mghft.train.data.text_features import FeatureCache, load_encoder
from mghft.train.distributed.accelerator import build_accelerator
from mghft.train.evaluation.predict import Output, class_probabilities, predict
from mghft.train.evaluation.trained_runs import TrainedRun

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenedRun:
    """A run whose network is on its device.

    Attributes:
        splits: as the run reads them, by name.
        transform: of an image, to the network's input.
        encoder: of its texts; None where it reads no descriptions.
    """

    run: TrainedRun
    model: Network
    splits: dict[str, Split]
    transform: Callable[..., Tensor]
    encoder: TextEncoder | None
    accelerator: Accelerator

    def predict(
        self, split: Split, *, batch_size: int, read: Callable[[Output], Tensor] = class_probabilities
    ) -> NDArray[np.float64]:
        """Return probabilities [n, classes], or what else is read, of a split or a changed one."""
        config = self.run.config
        return predict(
            self.model,
            split,
            self.transform,
            accelerator=self.accelerator,
            batch_size=batch_size,
            workers=config.workers,
            progress=config.progress,
            read=read,
        )

    def features(self, texts: list[tuple[str, ...]]) -> Tensor:
        """Return features [n, V, width] of other texts by the run's own encoder, kept in its cache."""
        assert self.encoder is not None
        cache = self.run.config.cache
        kept = FeatureCache(
            self.encoder, pooling=self.encoder.pooling, folder=cache.folder, progress=cache.progress
        )
        return kept.features(texts)


def open_run(run: TrainedRun, names: Collection[str]) -> OpenedRun:
    """Open the network of a run and some splits as it reads them.

    Raises:
        ValueError: the card's labels changed, or the weights are not of the run's own configuration.
    """
    config, best = run.config, run.weights
    corpus = open_corpus(config.sources)
    if corpus.card.labels != run.labels:
        raise ValueError(f"the labels of the card {config.card} changed since {run.folder} was trained")
    accelerator = build_accelerator(config.mixed_precision)
    encoder = None
    if (text := config.text) is not None:
        source = best / ENCODER_FOLDER if text.tune_text_encoder else text.text_encoder
        encoder = load_encoder(source, text.text_pooling, accelerator.device)
    own_text = open_own_text(config.model_options, accelerator.device)
    read = encoder if own_text is None else own_text.encoder
    model = load_network(best)
    wanted = resolve_model(
        config.model_options, labels=run.labels, text_dim=None if read is None else read.width
    )
    if isinstance(model, TGCAPVT) and isinstance(wanted, PeerConfig):
        model.set_topic_context(wanted.topic_context)
    if model.config != wanted:
        raise ValueError(f"the weights in {best} are not of the model in its config.json")
    model.to(accelerator.device)
    splits = load_splits(
        corpus,
        sorted(names),
        config.sources,
        config.cache,
        text=text,
        views=views_of(config.model),
        image_size=model.config.image_size,
        encoder=encoder,
        own_text=own_text,
    )
    if text is not None and config.images == "files":
        changed = changed_images(splits, text.descriptions)
        if changed is not None:
            _LOG.warning("note: %s", changed)
    transform = eval_transform(model.config.image_size, config.augmentation)
    return OpenedRun(run, model, splits, transform, encoder, accelerator)
