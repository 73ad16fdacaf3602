"""Why a model answered as it did: chosen patches, attention to image and text, and what each view added.

Reads a model through hooks and never changes it; `mghft.model.visualize` draws what is found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from mghft.model.mghft import MGHFT
from mghft.model.reattention import reattention_scores


@dataclass(frozen=True)
class Explanation:
    """What `explain` found, for a batch of B images; stages count from 0.

    Args:
        logits: [B, classes], as the model gives them.
        grids: rows and columns of patches in every stage.
        patch_scores: for each stage with local tokens, the re-attention score of every patch [B, heads, N].
        chosen: for the same stages, the patches each head chose [B, heads, n], best first, row by row numbers
            in the grid; equal to the model's `lra_indices`.
        chosen_scores: their scores [B, heads, n].
        text_attention: [B, fusion heads, t], weights of the fusion block's first step: how much token 0 takes
            from each text token. None where no text guides it.
        text_labels: (view, stage) of every text token: the views themselves, then the stages' text tokens.
        visual_attention: [B, fusion heads, n], weights of the second step: how much what token 0 heard (or,
            without text, token 0) takes from each visual token.
        visual_stages: [n], the stage every visual token comes from.
        visual_patches: [B, n], its patch there; -1 for the global token of a stage.
        view_pull: for each view, logits minus the logits with that view missing [B, classes]. Empty without
            text.
        view_shapley: for each view, its Shapley value [B, classes]: the mean of what it adds over all orders
            in which the views may be told. All views' values sum to logits minus the logits without any.
    """

    logits: Tensor
    grids: tuple[tuple[int, int], ...]
    patch_scores: dict[int, Tensor]
    chosen: dict[int, Tensor]
    chosen_scores: dict[int, Tensor]
    text_attention: Tensor | None
    text_labels: tuple[tuple[str, int], ...]
    visual_attention: Tensor
    visual_stages: Tensor
    visual_patches: Tensor
    view_pull: dict[str, Tensor]
    view_shapley: dict[str, Tensor]

    def score_map(self, stage: int) -> Tensor:
        """Re-attention scores of a stage, mean of its heads: [B, rows, columns]."""
        return self.patch_scores[stage].mean(dim=1).view(-1, *self.grids[stage])

    def attention_map(self, stage: int) -> Tensor:
        """Fusion attention that falls on a stage's local tokens, mean of the heads: [B, rows, columns].

        A patch that several heads chose gets the sum. All stages' maps and the weights of the global tokens
        sum to 1.
        """
        weights, patches = self.visual_attention.mean(dim=1), self.visual_patches
        local = (self.visual_stages == stage) & (patches >= 0)
        rows, columns = self.grids[stage]
        empty = weights.new_zeros(len(weights), rows * columns)
        filled = empty.scatter_add(1, patches * local, weights * local)
        return filled.view(-1, rows, columns)


@torch.no_grad()
def explain(
    model: MGHFT, image: Tensor, text_features: Tensor | None = None, text_mask: Tensor | None = None
) -> Explanation:
    """Runs a model in evaluation mode and keeps what it looked at; its mode is given back as it was.

    A missing view is what the model itself calls missing: its learned stand-in takes its place. A view that
    the caller masks is missing in every coalition, so it pulls nothing. One pass for each of the 2^views
    coalitions; without text, one pass.

    Args:
        model: a model.
        image, text_features, text_mask: as for `MGHFT.forward`.
    """
    was_training = model.training
    model.eval()
    try:
        with _watched(model) as seen:
            output = model(image, text_features, text_mask)
        pull: dict[str, Tensor] = {}
        shapley: dict[str, Tensor] = {}
        if text_features is not None:
            pull, shapley = _view_values(model, image, text_features, text_mask)
    finally:
        model.train(was_training)

    config = model.config
    grids = tuple((image.shape[2] // (4 * 2**s), image.shape[3] // (4 * 2**s)) for s in range(4))
    with_token = [stage for stage in range(4) if config.class_token_stages[stage]]
    with_local = [stage for stage in range(4) if config.local_token_counts[stage]]
    scores = {
        stage: reattention_scores(seen["stages"][stage].queries_keys, last_stage=stage == 3)
        for stage in with_local
    }
    chosen = dict(zip(with_local, output.lra_indices, strict=True))
    # Global tokens come last stage first; local tokens by stage and head, then reversed as one row.
    no_patch = torch.full((len(image), len(with_token)), -1, device=image.device)
    local = torch.cat([no_patch[:, :0], *(indices.flatten(1) for indices in chosen.values())], dim=1).flip(1)
    local_stages = [stage for stage, indices in chosen.items() for _ in range(indices[0].numel())][::-1]
    return Explanation(
        logits=output.logits,
        grids=grids,
        patch_scores=scores,
        chosen=chosen,
        chosen_scores={stage: scores[stage].gather(-1, indices) for stage, indices in chosen.items()},
        text_attention=seen["text"],
        text_labels=() if seen["text"] is None else _text_labels(model),
        visual_attention=seen["visual"],
        visual_stages=torch.tensor(with_token[::-1] + local_stages, device=image.device),
        visual_patches=torch.cat([no_patch, local], dim=1),
        view_pull=pull,
        view_shapley=shapley,
    )


def _text_labels(model: MGHFT) -> tuple[tuple[str, int], ...]:
    """View and stage of every text token: the views last stage first, then the stages' tokens likewise."""
    config = model.config
    views = [
        (view, stage)
        for stage, view in enumerate(config.stage_views)
        if view is not None and config.text_stages[stage]
    ]
    parts = [(view, stage) for view, stage in views if config.local_text_stages[stage]]
    repeats = config.last_stage_text_token == "previous" and not config.local_stages[3]
    if repeats and len(parts) > 1 and parts[-1][1] == 3:
        parts[-1] = parts[-2]
    return (*views[::-1], *parts[::-1])


@contextmanager
def _watched(model: MGHFT) -> Iterator[dict[str, Any]]:
    """Collects the backbone's stages and both attentions of the fusion block during a forward pass."""
    seen: dict[str, Any] = {}

    def keep_stages(_module: object, _inputs: object, stages: object) -> None:
        seen["stages"] = stages

    def keep_attention(_module: object, inputs: tuple[Tensor, Tensor | None], _output: object) -> None:
        attention, (tokens, text) = model.fusion.attention, inputs
        asking = attention.ask(tokens)
        seen["text"] = None if text is None else attention.weigh(asking, text)
        heard = asking if text is None else attention.hear(asking, text)
        seen["visual"] = attention.weigh(heard, tokens)

    hooks = [
        model.backbone.register_forward_hook(keep_stages),
        model.fusion.attention.register_forward_hook(keep_attention),
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _view_values(
    model: MGHFT, image: Tensor, features: Tensor, mask: Tensor | None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Pull and Shapley value of every view, from the logits of every coalition of views."""
    views = model.config.views
    if mask is None:
        mask = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
    worth: dict[tuple[bool, ...], Tensor] = {}
    for told in product((False, True), repeat=len(views)):
        coalition = mask & torch.tensor(told, device=mask.device)
        worth[told] = model(image, features, coalition).logits
    everyone = (True,) * len(views)
    pull, shapley = {}, {}
    for index, view in enumerate(views):
        value = torch.zeros_like(worth[everyone])
        for told, logits in worth.items():
            if told[index]:
                without = (*told[:index], False, *told[index + 1 :])
                others = sum(without)
                orders = math.factorial(others) * math.factorial(len(views) - 1 - others)
                value += (logits - worth[without]) * (orders / math.factorial(len(views)))
                if told == everyone:
                    pull[view] = logits - worth[without]
        shapley[view] = value
    return pull, shapley
