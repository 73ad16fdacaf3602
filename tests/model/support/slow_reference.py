"""The formulas of MGHFT written out, slowly and without any shortcut, on the weights of an MGHFT instance.

Shares nothing with `model/` but the parameters: every matrix is formed, every token goes through every layer,
every soft fusion is a softmax. Evaluation mode only (no dropout). Meant for float64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mghft.model import MGHFT
from mghft.model.config import PyramidConfig


class Reference(NamedTuple):
    """What `MGHFTOutput` holds, and the scores [B, heads, N] that the patches were chosen by."""

    logits: Tensor
    loss: Tensor | None
    alignment_loss: Tensor | None
    visual_tokens: Tensor
    text_tokens: Tensor | None
    indices: list[Tensor]
    scores: list[Tensor]


class Layers:
    """The elementary layers, by the names of their parameters."""

    def __init__(self, model: MGHFT) -> None:
        self.weights = dict(model.named_parameters()) | dict(model.named_buffers())

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, name: str, x: Tensor, eps: float) -> Tensor:
        centred = x - x.mean(dim=-1, keepdim=True)
        variance = (centred**2).mean(dim=-1, keepdim=True)
        scaled = centred / torch.sqrt(variance + eps)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def patchify(self, name: str, image: Tensor) -> Tensor:
        """A convolution whose kernel is its stride, as a product: [B, C, H, W] -> [B, rows, columns, C']."""
        kernel = self.weights[f"{name}.weight"]
        side = kernel.shape[-1]
        batch, width, height, breadth = image.shape
        cut = image.reshape(batch, width, height // side, side, breadth // side, side)
        flat = cut.permute(0, 2, 4, 1, 3, 5).flatten(3)
        return flat @ kernel.flatten(1).T + self.weights[f"{name}.bias"]

    def projection(self, name: str, x: Tensor) -> Tensor:
        return self.linear(f"{name}.2", self.linear(f"{name}.0", x).clamp(min=0))

    def mlp(self, name: str, x: Tensor) -> Tensor:
        hidden = self.linear(f"{name}.fc1", x)
        return self.linear(f"{name}.fc2", hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2)

    def residual(self, name: str, x: Tensor, branch: Tensor) -> Tensor:
        """Of the block of that name; evaluation keeps every branch."""
        return x + branch


def bilinear(source: int, target: int) -> Tensor:
    """[target, source] matrix that resizes one axis, pixel centres at halves, borders repeated."""
    matrix = torch.zeros(target, source, dtype=torch.float64)
    for row in range(target):
        place = max((row + 0.5) * source / target - 0.5, 0.0)
        low = int(place)
        matrix[row, low] += 1 - (place - low)
        matrix[row, min(low + 1, source - 1)] += place - low
    return matrix


def positions(parameter: Tensor, rows: int, columns: int, *, last: bool, class_token: bool) -> Tensor:
    """[1, N', C] position embedding for a grid; the embedding before resizing gives the class token's."""
    grid = parameter[0, 1:] if last else parameter[0]
    side = math.isqrt(len(grid))
    square = grid.reshape(side, side, -1)
    tall, wide = (bilinear(side, length).to(square.dtype) for length in (rows, columns))
    resized = torch.einsum("rs,cd,sdw->rcw", tall, wide, square).flatten(0, 1)
    return torch.cat([parameter[0, :1], resized] if class_token else [resized]).unsqueeze(0)


def heads_of(x: Tensor, heads: int) -> list[Tensor]:
    return list(x.split(x.shape[-1] // heads, dim=-1))


def attend(queries: Tensor, keys: Tensor, heads: int) -> list[Tensor]:
    """The attention map of every head, each [B, N', K']."""
    pairs = zip(heads_of(queries, heads), heads_of(keys, heads), strict=True)
    return [torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), dim=-1) for q, k in pairs]


def mix(maps: list[Tensor], values: Tensor) -> Tensor:
    return torch.cat([p @ v for p, v in zip(maps, heads_of(values, len(maps)), strict=True)], dim=-1)


def block(
    layers: Layers, name: str, x: Tensor, *, grid: tuple[int, int], heads: int, ratio: int
) -> tuple[Tensor, Tensor]:
    """One block of PVT and its attention maps [B, heads, N', K']."""
    h = layers.norm(f"{name}.attention_norm", x, 1e-6)
    source = h
    if ratio > 1:
        patches = h.shape[1] - grid[0] * grid[1]
        image = h[:, patches:].reshape(len(h), *grid, -1).permute(0, 3, 1, 2)
        reduced = layers.patchify(f"{name}.attention.reduction", image).flatten(1, 2)
        source = torch.cat([h[:, :patches], reduced], dim=1)
        source = layers.norm(f"{name}.attention.reduction_norm", source, 1e-5)
    keys, values = layers.linear(f"{name}.attention.key_value", source).chunk(2, dim=-1)
    maps = attend(layers.linear(f"{name}.attention.query", h), keys, heads)
    x = layers.residual(name, x, layers.linear(f"{name}.attention.output", mix(maps, values)))
    added = layers.mlp(f"{name}.mlp", layers.norm(f"{name}.mlp_norm", x, 1e-6))
    return layers.residual(name, x, added), torch.stack(maps, dim=1)


def stage_of_pvt(
    layers: Layers, config: PyramidConfig, stage: int, image: Tensor, *, class_token: bool
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Tokens of one stage, its patches alone, these as the next stage's image, and the blocks' maps."""
    name, batch = f"backbone.stages.{stage}", len(image)
    x = layers.patchify(f"{name}.patch_projection", image)
    rows, columns = grid = (x.shape[1], x.shape[2])
    x = layers.norm(f"{name}.patch_norm", x.flatten(1, 2), 1e-5)
    if class_token:
        x = torch.cat([layers.weights[f"{name}.class_token"].repeat(batch, 1, 1), x], dim=1)
    x = x + positions(
        layers.weights[f"{name}.position_embedding"], rows, columns, last=stage == 3, class_token=class_token
    )
    maps = []
    for number in range(config.depths[stage]):
        heads, ratio = config.num_heads[stage], config.sr_ratios[stage]
        x, attention = block(layers, f"{name}.blocks.{number}", x, grid=grid, heads=heads, ratio=ratio)
        maps.append(attention)
    patches = x[:, 1:] if class_token else x
    return x, patches, patches.reshape(batch, rows, columns, -1).permute(0, 3, 1, 2), maps


def reattention(maps: list[Tensor], *, last: bool) -> Tensor:
    """Row of the class token in ... P3 · P2ᵀ · P1 · P0ᵀ (last stage: all plain), without its own column."""
    product: Tensor | None = None
    for number, attention in enumerate(maps):
        read = attention.detach()
        factor = read if last or number % 2 else read.transpose(-1, -2)
        product = factor if product is None else factor @ product
    assert product is not None
    return product[:, :, 0, 1:]


def soft_fusion(tokens: Tensor, text: Tensor) -> Tensor:
    return tokens + torch.softmax(tokens @ text.transpose(1, 2), dim=-1) @ text


def alignment(image: Tensor, text: Tensor, temperature: float, divergence_weight: float) -> Tensor:
    if len(image) == 0:
        return (image.sum() + text.sum()) * 0
    v = image / image.norm(dim=1, keepdim=True)
    t = text / text.norm(dim=1, keepdim=True)
    pairs = range(len(v))
    contrastive = torch.zeros((), dtype=v.dtype)
    for similarity in (v @ t.T / temperature, t @ v.T / temperature):
        for pair in pairs:
            chance = similarity[pair].exp()[pair] / similarity[pair].exp().sum()
            contrastive = contrastive - chance.log() / len(v) / 2
    w_image, w_text = (torch.softmax((1 + x @ x.T) / 2, dim=0).T for x in (v, t))
    return contrastive + divergence_weight * (w_text * (w_text.log() - w_image.log())).sum()


def fusion_block(layers: Layers, x: Tensor, text: Tensor | None, heads: int) -> Tensor:
    """Text-guided fusion attention of all tokens; plain attention without text."""
    name = "fusion.attention"
    h = layers.norm("fusion.attention_norm", x, 1e-6)
    asking = layers.linear(f"{name}.query", h)
    for tokens in (text, h):
        if tokens is not None:
            maps = attend(asking, layers.linear(f"{name}.key", tokens), heads)
            asking = mix(maps, layers.linear(f"{name}.value", tokens))
    x = x + layers.linear(f"{name}.output", asking)
    return x + layers.mlp("fusion.mlp", layers.norm("fusion.mlp_norm", x, 1e-6))


def classification_loss(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    log_p = torch.log(torch.softmax(logits, dim=1))
    target = torch.full_like(log_p, smoothing / logits.shape[1])
    target[range(len(labels)), labels] += 1 - smoothing
    return -(target * log_p).sum(dim=1).mean()


def reference(
    model: MGHFT,
    image: Tensor,
    text_features: Tensor | None = None,
    text_mask: Tensor | None = None,
    labels: Tensor | None = None,
    *,
    indices: list[Tensor] | None = None,
    layers: Layers | None = None,
) -> Reference:
    """What `model(...)` should give; `indices` replaces the reference's own choice of patches."""
    config, layers, batch = model.config, layers or Layers(model), len(image)
    views: dict[int, Tensor] = {}
    present: dict[int, list[int]] = {}
    for stage, view in enumerate(config.stage_views):
        if not config.use_text or not config.fusion_stages[stage] or view is None:
            continue
        column = config.views.index(view)
        there = [
            text_features is not None and (text_mask is None or bool(text_mask[b, column]))
            for b in range(batch)
        ]
        rows = []
        for sample in range(batch):
            row = layers.weights["missing_view_embedding"][column]
            if there[sample]:
                assert text_features is not None
                row = (text_features[sample, column] - layers.weights["text_mean"][column]) / layers.weights[
                    "text_scale"
                ]
            rows.append(layers.linear("view_projection", row))
        views[stage] = torch.stack(rows)
        present[stage] = [sample for sample in range(batch) if there[sample]]

    global_tokens: list[Tensor] = []
    local_tokens: list[Tensor] = []
    text_tokens: list[Tensor] = []
    chosen: list[Tensor] = []
    all_scores: list[Tensor] = []
    aligned: Tensor | None = None
    for stage in range(4):
        last = stage == 3
        fused, local = config.fusion_stages[stage], config.local_stages[stage]
        class_token = last or (fused and local)
        x, patches, image, maps = stage_of_pvt(layers, config, stage, image, class_token=class_token)
        if class_token:
            g = x[:, 0]
            global_tokens.append(g if last else layers.projection(f"global_projections.{stage}", g))
        if class_token and fused and config.local_reattention:
            scores = reattention(maps, last=last)
            all_scores.append(scores)
            count = config.alpha * config.sr_ratios[stage] ** 2
            top = (
                scores.argsort(dim=-1, descending=True)[..., :count]
                if indices is None
                else indices[len(chosen)]
            )
            chosen.append(top)
            parts = torch.stack(
                [torch.cat([patches[sample, of_head] for of_head in top[sample]]) for sample in range(batch)]
            )
            text = None
            if config.local_fusion and stage in views:
                text = layers.projection(f"stage_text_projections.{stage}", views[stage])
                parts = soft_fusion(parts, text.unsqueeze(1).repeat(1, parts.shape[1], 1))
            if local:
                parts = layers.projection(f"local_projections.{stage}", parts)
            local_tokens.append(parts)
            if text is not None and local:
                text_tokens.append(layers.projection(f"local_projections.{stage}", text))
            elif text is not None:
                previous = config.last_stage_text_token == "previous" and text_tokens
                text_tokens.append(text_tokens[-1] if previous else text)
        if config.alignment and labels is not None and stage in views and global_tokens:
            term = alignment(
                global_tokens[-1][present[stage]],
                views[stage][present[stage]],
                config.alignment_temperature,
                config.alignment_divergence_weight,
            )
            aligned = term if aligned is None else aligned + term

    g = torch.stack(global_tokens[::-1], dim=1)
    guide = projected = None
    if views:
        t = torch.stack([views[stage] for stage in sorted(views, reverse=True)], dim=1)
        if config.global_fusion:
            g = soft_fusion(g, t)
        if config.text_guided_attention:
            guide = torch.cat([t, *(token[:, None] for token in text_tokens[::-1])], dim=1)
            projected = layers.linear("text_projection", guide)
    if local_tokens:
        g = torch.cat([g, torch.cat(local_tokens, dim=1).flip(1)], dim=1)
    visual = layers.norm("token_norm", g, 1e-6)
    asking = layers.linear("visual_projection", visual) + layers.weights["token_positions"]
    logits = layers.linear("head", fusion_block(layers, asking, projected, config.fusion_heads)[:, 0])
    loss = None
    if labels is not None:
        loss = classification_loss(logits, labels, config.label_smoothing)
        if aligned is not None:
            loss = loss + config.alignment_weight * aligned
    return Reference(logits, loss, aligned, visual, guide, chosen, all_scores)
