"""Alignment loss between a stage's global image token and its view of the description."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def alignment_loss(image: Tensor, text: Tensor, *, temperature: float, divergence_weight: float) -> Tensor:
    """Return the alignment loss of one stage: symmetric contrastive, plus divergence of similarities.

    MGHFT (ACM MM 2025), section 3: InfoNCE between image and text in both directions, and the divergence
    (Kullback–Leibler) between the softmax similarities inside each modality.

    Evaluated in at least float32: at a temperature of 0.07 half precision would round the similarities.

    Args:
        image: [B, D] global tokens.
        text: [B, D] embeddings of the view that belongs to each image.
        temperature: divides the cosine similarities of the contrastive part.
        divergence_weight: factor of the similarity divergence.

    Returns:
        A scalar; 0 for an empty batch.
    """
    with torch.autocast(image.device.type, enabled=False):
        if image.dtype != torch.float64:
            image, text = image.float(), text.float()
        if image.shape[0] == 0:
            return image.sum() + text.sum()
        image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
        logits = image @ text.T / temperature
        pairs = torch.arange(len(logits), device=logits.device)
        contrastive = (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2
        # Both matrices are symmetric, so a softmax over rows is the transposed softmax over columns.
        log_image = ((1 + image @ image.T) / 2).log_softmax(dim=1)
        log_text = ((1 + text @ text.T) / 2).log_softmax(dim=1)
        divergence = F.kl_div(log_image, log_text, reduction="sum", log_target=True)
        return contrastive + divergence_weight * divergence
