"""Why a model answered as it did: selected patches, attention to image and text, and what each view adds.

Reads a model through hooks and never changes it; `mghft.model.visualize` draws what is found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from mghft.model.config import MGHFTConfig
from mghft.model.mghft import MGHFT
from mghft.model.pvt import StageOutput
from mghft.model.reattention import reattention_scores


@dataclass(frozen=True)
class Explanation:
    """Facts on one forward pass over a batch of B images; stages count from 0.

    Args:
        logits: [B, classes], as the model gives them.
        grids: rows and columns of patches in every stage.
        patch_scores: for each stage with local tokens, the re-attention score of every patch [B, heads, N].
        selected: for the same stages, the patches each head selects [B, heads, n], best first, row by row
            numbers in the grid; equal to the model's `lra_indices`.
        selected_scores: their scores [B, heads, n].
        text_attention: [B, fusion heads, t], weights of the fusion block's first step: how much token 0 takes
            from each text token. None where no text guides it.
        text_labels: (view, stage) of every text token: the views themselves, then the stages' text tokens.
        visual_attention: [B, fusion heads, n], weights of the second step: how much the text that token 0
            attended to (or, without text, token 0) takes from each visual token.
        visual_stages: [n], the stage every visual token comes from.
        visual_patches: [B, n], its patch there; -1 for the global token of a stage.
        view_pull: for each view, logits minus the logits with that view missing [B, classes]. Empty without
            text.
        view_shapley: for each view, its Shapley value [B, classes] (Shapley, 1953): the mean of what it adds
            over all orders of adding the views. All views' values sum to logits minus the logits without any.
    """

    logits: Tensor
    grids: tuple[tuple[int, int], ...]
    patch_scores: dict[int, Tensor]
    selected: dict[int, Tensor]
    selected_scores: dict[int, Tensor]
    text_attention: Tensor | None
    text_labels: tuple[tuple[str, int], ...]
    visual_attention: Tensor
    visual_stages: Tensor
    visual_patches: Tensor
    view_pull: dict[str, Tensor]
    view_shapley: dict[str, Tensor]

    def score_map(self, stage: int) -> Tensor:
        """Return the re-attention scores of a stage, mean of its heads: [B, rows, columns]."""
        return self.patch_scores[stage].mean(dim=1).view(-1, *self.grids[stage])

    def attention_map(self, stage: int) -> Tensor:
        """Return the fusion attention to a stage's local tokens, mean of the heads: [B, rows, columns].

        A patch that several heads select gets the sum. All stages' maps and the weights of the global tokens
        sum to 1.
        """
        weights, patches = self.visual_attention.mean(dim=1), self.visual_patches
        local = (self.visual_stages == stage) & (patches >= 0)
        rows, columns = self.grids[stage]
        empty = weights.new_zeros(len(weights), rows * columns)
        filled = empty.scatter_add(1, patches * local, weights * local)
        return filled.view(-1, rows, columns)


class _Recorded:
    """Tokens and attention weights of one forward pass, as far as it has come."""

    stages: list[StageOutput]
    text_attention: Tensor | None = None
    visual_attention: Tensor


@torch.no_grad()
def explain(
    model: MGHFT, image: Tensor, text_features: Tensor | None = None, text_mask: Tensor | None = None
) -> Explanation:
    """Run a model in evaluation mode and keep what it attends to; its own mode is set again at the end.

    A missing view is what the model itself calls missing: its learned stand-in takes its place. A view that
    the caller masks is missing in every coalition, so it pulls nothing. One pass for each of the 2^views
    coalitions; without text, one pass.

    Args:
        model: with or without text.
        image, text_features, text_mask: as for `MGHFT.forward`.
    """
    was_training = model.training
    model.eval()
    try:
        with _record(model) as recorded:
            output = model(image, text_features, text_mask)
        pull: dict[str, Tensor] = {}
        shapley: dict[str, Tensor] = {}
        if text_features is not None:
            pull, shapley = _view_values(model, image, text_features, text_mask)
    finally:
        model.train(was_training)

    config = model.config
    grids = tuple((image.shape[2] // stride, image.shape[3] // stride) for stride in (4, 8, 16, 32))
    with_token = [stage for stage in range(4) if config.class_token_stages[stage]]
    with_local = [stage for stage in range(4) if config.local_token_counts[stage]]
    scores = {
        stage: reattention_scores(recorded.stages[stage].queries_keys, last_stage=stage == 3)
        for stage in with_local
    }
    selected = dict(zip(with_local, output.lra_indices, strict=True))
    # Global tokens come last stage first; local tokens by stage and head, then reversed as one row.
    no_patch = torch.full((len(image), len(with_token)), -1, device=image.device)
    flat = [indices.flatten(1) for indices in selected.values()]
    local = torch.cat([no_patch[:, :0], *flat], dim=1).flip(1)
    local_stages = [stage for stage, indices in selected.items() for _ in range(indices[0].numel())][::-1]
    return Explanation(
        logits=output.logits,
        grids=grids,
        patch_scores=scores,
        selected=selected,
        selected_scores={stage: scores[stage].gather(-1, indices) for stage, indices in selected.items()},
        text_attention=recorded.text_attention,
        text_labels=() if recorded.text_attention is None else _text_labels(model.config),
        visual_attention=recorded.visual_attention,
        visual_stages=torch.tensor(with_token[::-1] + local_stages, device=image.device),
        visual_patches=torch.cat([no_patch, local], dim=1),
        view_pull=pull,
        view_shapley=shapley,
    )


def _text_labels(config: MGHFTConfig) -> tuple[tuple[str, int], ...]:
    """View and stage of every text token: the views last stage first, then the stages' tokens likewise."""
    views = [
        (view, stage)
        for stage, view in enumerate(config.stage_views)
        if view is not None and config.text_stages[stage]
    ]
    stage_tokens = [(view, stage) for view, stage in views if config.local_text_stages[stage]]
    repeats = config.last_stage_text_token == "previous" and not config.local_stages[3]
    if repeats and len(stage_tokens) > 1 and stage_tokens[-1][1] == 3:
        stage_tokens[-1] = stage_tokens[-2]
    return (*views[::-1], *stage_tokens[::-1])


@contextmanager
def _record(model: MGHFT) -> Iterator[_Recorded]:
    """Record the backbone's stages and both attentions of the fusion block during a forward pass."""
    recorded = _Recorded()

    def keep_stages(_module: object, _inputs: object, stages: list[StageOutput]) -> None:
        recorded.stages = stages

    def keep_attention(_module: object, inputs: tuple[Tensor, Tensor | None], _output: object) -> None:
        attention, (tokens, text) = model.fusion.attention, inputs
        query = attention.project_query(tokens)
        if text is not None:
            recorded.text_attention = attention.attention_weights(query, text)
            query = attention.attend(query, text)
        recorded.visual_attention = attention.attention_weights(query, tokens)

    hooks = [
        model.backbone.register_forward_hook(keep_stages),
        model.fusion.attention.register_forward_hook(keep_attention),
    ]
    try:
        yield recorded
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
    for coalition in product((False, True), repeat=len(views)):
        present = mask & torch.tensor(coalition, device=mask.device)
        worth[coalition] = model(image, features, present).logits
    everyone = (True,) * len(views)
    pull, shapley = {}, {}
    for index, view in enumerate(views):
        value = torch.zeros_like(worth[everyone])
        for coalition, logits in worth.items():
            if coalition[index]:
                without = (*coalition[:index], False, *coalition[index + 1 :])
                others = sum(without)
                orders = math.factorial(others) * math.factorial(len(views) - 1 - others)
                value += (logits - worth[without]) * (orders / math.factorial(len(views)))
                if coalition == everyone:
                    pull[view] = logits - worth[without]
        shapley[view] = value
    return pull, shapley
