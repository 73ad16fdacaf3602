"""Fine-tuning an image encoder with a linear head: low rates, lower towards the input, weights averaged.

Dong et al. (arXiv 2212.06138) find CLIP underestimated where it is tuned like a network from scratch; rates,
layer decay, averaging and weak augmentation are after them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import f1_score
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.transforms import RandomResizedCrop  # type: ignore[import-untyped]

from mghft.model.encoders.classifier import EncoderClassifier
from mghft.model.encoders.image_text import ImageTextEncoder
from mghft.pipeline.progress import bar
from mghft.train.data.image_cache import StickerImages

_LR, _HEAD_LR, _LAYER_DECAY = 1e-5, 1e-3, 0.65
_WEIGHT_DECAY, _SMOOTHING, _EMA = 0.05, 0.1, 0.99
_CROP = (0.8, 1.0)


@dataclass(frozen=True)
class FineTuned:
    """A fine-tuned encoder.

    Attributes:
        best_epoch: from 1, by macro F1 on validation.
        probabilities: per split [n, classes].
    """

    best_epoch: int
    probabilities: dict[str, NDArray[np.float64]]


def fine_tune(
    encoder: ImageTextEncoder,
    images: Mapping[str, StickerImages],
    labels: Mapping[str, NDArray[np.int64]],
    classes: int,
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    progress: bool,
) -> FineTuned:
    """Train encoder and head on train, keep the best epoch on validation, predict every split.

    Args:
        encoder: its weights are changed; load it anew for each seed.
        images: per split; train and validation are needed.
        labels: per split [n] label indices.
        classes: number of labels.
        seed: of order and crops.
        progress: a bar over the epochs.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    width = encoder.images([images["train"][0]]).features.shape[1]
    model = EncoderClassifier(encoder, classes, width).to(device)
    average = get_ema_multi_avg_fn(_EMA)  # type: ignore[no-untyped-call]
    averaged = AveragedModel(model, multi_avg_fn=average)
    groups = list(model.groups(lr=_LR, head_lr=_HEAD_LR, layer_decay=_LAYER_DECAY))
    optimizer = torch.optim.AdamW(groups, weight_decay=_WEIGHT_DECAY)
    steps = max(1, len(images["train"]) // batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step, steps, epochs))
    crop, truth = RandomResizedCrop(1, scale=_CROP, ratio=(0.9, 1.1)), torch.from_numpy(labels["train"])
    best, best_epoch, kept = -1.0, 0, copy.deepcopy(averaged.module.state_dict())
    with bar("epoch", "fine-tuning", progress) as advance:
        for epoch in range(1, epochs + 1):
            model.train()
            order = rng.permutation(len(images["train"]))
            for step in range(steps):
                rows = order[step * batch_size : (step + 1) * batch_size]
                pixels = encoder.pixels([_cropped(images["train"][row], crop) for row in rows]).to(device)
                logits = model(pixels)
                loss = F.cross_entropy(logits, truth[rows].to(device), label_smoothing=_SMOOTHING)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                averaged.update_parameters(model)
            predicted = _predict(averaged, encoder, images["validation"], batch_size, device).argmax(1)
            kinds = np.unique(labels["validation"])
            score = float(f1_score(labels["validation"], predicted, labels=kinds, average="macro"))
            if score > best:
                best, best_epoch, kept = score, epoch, copy.deepcopy(averaged.module.state_dict())
            advance(epoch, epochs)
    averaged.module.load_state_dict(kept)
    return FineTuned(
        best_epoch,
        {name: _predict(averaged, encoder, rows, batch_size, device) for name, rows in images.items()},
    )


def _share(step: int, steps: int, epochs: int) -> float:
    """Return the share of the rate: linear over the first epoch, then a cosine to 0."""
    if step < steps:
        return (step + 1) / steps
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - steps) / max(1, (epochs - 1) * steps))))


def _cropped(image: Image.Image, crop: RandomResizedCrop) -> Image.Image:
    """Return a random part of at least 80 % of the picture, in its own size."""
    top, left, height, width = crop.get_params(image, list(crop.scale), list(crop.ratio))
    return image.crop((left, top, left + width, top + height))


@torch.inference_mode()
def _predict(
    model: AveragedModel,
    encoder: ImageTextEncoder,
    images: StickerImages,
    batch_size: int,
    device: torch.device,
) -> NDArray[np.float64]:
    model.eval()
    found: list[Tensor] = []
    for start in range(0, len(images), batch_size):
        rows = range(start, min(start + batch_size, len(images)))
        pixels = encoder.pixels([images[row] for row in rows]).to(device)
        found.append(model(pixels).double().softmax(1).cpu())
    probabilities: NDArray[np.float64] = torch.cat(found).numpy()
    return probabilities
