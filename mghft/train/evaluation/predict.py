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
from torch.utils.data import DataLoader, Subset

from mghft.model import MGHFT, MGHFTOutput
from mghft.model.joint import Trained, TunedMGHFT
from mghft.pipeline.progress import bar
from mghft.train.data.loader import leave_signals_to_the_loop
from mghft.train.data.sampler import PlainStickers
from mghft.train.data.splits import Split
from mghft.train.data.text_features import features_of


def class_probabilities(output: MGHFTOutput) -> Tensor:
    """Return the probabilities of a forward pass, [B, classes]."""
    return output.logits.double().softmax(dim=1)


def visual_vectors(output: MGHFTOutput) -> Tensor:
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
    read: Callable[[MGHFTOutput], Tensor] = class_probabilities,
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
    share = range(accelerator.process_index, len(split.stickers), accelerator.num_processes)
    loader = DataLoader(
        Subset(PlainStickers(split.images, transform), share),
        batch_size=batch_size,
        num_workers=min(workers, len(share) // (2 * batch_size)),
        worker_init_fn=leave_signals_to_the_loop,
    )
    was_training = model.training
    model.eval()
    rows: list[tuple[int, list[float]]] = []
    with bar("sticker", "predicting", progress) as advance:
        for pixels, indices in loader:
            features = mask = None
            if split.features is not None and split.mask is not None:
                features = split.features[indices].to(accelerator.device)
                mask = split.mask[indices].to(accelerator.device)
            with accelerator.autocast():
                output = model(pixels.to(accelerator.device), text_features=features, text_mask=mask)
            rows += zip(indices.tolist(), read(output).tolist(), strict=True)
            advance(len(rows), len(share))
    model.train(was_training)
    by_index = dict(gather_object(rows) if accelerator.num_processes > 1 else rows)
    assert len(by_index) == len(split.stickers), "every sticker is predicted exactly once"
    return np.array([by_index[index] for index in range(len(split.stickers))], dtype=np.float64)


def to_predict(model: Trained, split: Split) -> tuple[MGHFT, Split]:
    """Return model and split for `predict`, with the features of an encoder as it is now."""
    if not isinstance(model, TunedMGHFT):
        return model, split
    assert split.descriptions is not None
    was_training = model.language.training
    model.language.eval()
    features = features_of(model.encoder, split.descriptions.texts)
    model.language.train(was_training)
    return model.mghft, dataclasses.replace(split, features=features)
