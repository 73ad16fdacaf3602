"""Class probabilities of every sticker of a split, each exactly once, on any number of processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from accelerate.utils import gather_object  # type: ignore[import-untyped]
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mghft.model import MGHFTOutput
from mghft.model.joint import Network, Trained, TunedMGHFT
from mghft.model.peers import PeerConfig, PeerOutput
from mghft.pipeline.progress import bar
from mghft.train.data.loader import leave_signals_to_the_loop
from mghft.train.data.sampler import PlainStickers
from mghft.train.data.splits import Split
from mghft.train.data.text_features import features_of
from mghft.train.data.token_features import topic_batches

Output = MGHFTOutput | PeerOutput


def class_probabilities(output: Output) -> Tensor:
    """Return the probabilities of a forward pass, [B, classes]."""
    return output.logits.double().softmax(dim=1)


def visual_vectors(output: Output) -> Tensor:
    """Return the last stage's class token, normalised, [B, D]: a text-less network's view of an image."""
    return output.visual_tokens[:, 0].double()


@torch.inference_mode()
def predict(
    model: nn.Module,
    split: Split,
    transform: Any,
    *,
    accelerator: Accelerator,
    batch_size: int,
    workers: int = 0,
    progress: bool = False,
    read: Callable[[Output], Tensor] = class_probabilities,
) -> NDArray[np.float64]:
    """Predict class probabilities, or what else is read; the model keeps the mode it came in.

    Args:
        model: on the accelerator's device.
        split: without features for a model that reads no text.
        transform: of an image, to the model's input.
        accelerator: every process predicts its share, and all get the whole.
        batch_size: stickers at a time.
        workers: at most so many processes read images, one for every two batches: a small split is read
            before they would be up.
        progress: of this process, shown on stderr.
        read: what is wanted of every batch's output, [B, …].

    Returns:
        [n, classes], or [n, …] of what is read, in the order of the split.
    """
    batches = prediction_batches(model, split, batch_size)[
        accelerator.process_index :: accelerator.num_processes
    ]
    share = [index for batch in batches for index in batch]
    loader = DataLoader(
        PlainStickers(split.images, transform),
        batch_sampler=batches,
        num_workers=min(workers, len(share) // (2 * batch_size)),
        worker_init_fn=leave_signals_to_the_loop,
    )
    was_training = model.training
    model.eval()
    rows: list[tuple[int, list[float]]] = []
    with bar("sticker", "predicting", progress) as advance:
        for pixels, indices in loader:
            inputs = split.text_inputs(indices, accelerator.device)
            with accelerator.autocast():
                output = model(pixels.to(accelerator.device), **inputs)
            rows += zip(indices.tolist(), read(output).tolist(), strict=True)
            advance(len(rows), len(share))
    model.train(was_training)
    by_index = dict(gather_object(rows) if accelerator.num_processes > 1 else rows)
    assert len(by_index) == len(split.stickers), "every sticker is predicted exactly once"
    return np.array([by_index[index] for index in range(len(split.stickers))], dtype=np.float64)


def prediction_batches(model: nn.Module, split: Split, batch_size: int) -> list[list[int]]:
    """Return the batches in which a split is predicted, in its order.

    A network whose topic context is the topic gets every topic in one batch, however large.
    """
    config = getattr(model, "config", None)
    everything = range(len(split.stickers))
    if isinstance(config, PeerConfig) and config.topic_context == "topic" and split.topics is not None:
        return topic_batches(split.topics, everything, batch_size)
    return [list(everything[start : start + batch_size]) for start in everything[::batch_size]]


def to_predict(model: Trained, split: Split) -> tuple[Network, Split]:
    """Return model and split for `predict`, with the features of an encoder as it is now."""
    if not isinstance(model, TunedMGHFT):
        return model, split
    assert split.descriptions is not None
    was_training = model.language.training
    model.language.eval()
    features = features_of(model.encoder, split.descriptions.texts)
    model.language.train(was_training)
    return model.mghft, dataclasses.replace(split, features=features)
