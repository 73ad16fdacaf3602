"""The formulas of LORA and TGCA-PVT written out as published, without any shortcut, in float64.

Every token goes through every layer, the maximum of LERA is repeated and attended to, Fourier transforms are
products with matrices. Shares nothing with `model/peers` but the parameters.
"""

from __future__ import annotations

import math

import torch
from slow_reference import (
    Layers,
    attend,
    block,
    classification_loss,
    mix,
    positions,
    reattention,
    soft_fusion,
)
from torch import Tensor

from mghft.model.peers import PeerNetwork


def fourier(size: int, *, inverse: bool = False) -> Tensor:
    """[size, size] orthonormal transform."""
    place = torch.arange(size, dtype=torch.float64)
    angle = (1 if inverse else -1) * 2 * math.pi * torch.outer(place, place) / size
    return torch.complex(angle.cos(), angle.sin()) / math.sqrt(size)


def frequencies(layers: Layers, name: str, x: Tensor) -> Tensor:
    """The frequency module on [B, C, h, w]."""
    height, width = x.shape[2:]
    half = width // 2 + 1
    z = torch.einsum("hg,bcgv,vw->bchw", fourier(height), x.to(torch.complex128), fourier(width))[..., :half]
    a, b, a_bias, b_bias = (
        layers.weights[f"{name}.{part}"][None, :, None, None]
        for part in ("real", "imaginary", "real_bias", "imaginary_bias")
    )
    real = (a * z.real - b * z.imag + a_bias).clamp(min=0)
    imaginary = (a * z.imag + b * z.real + b_bias).clamp(min=0)
    changed = []
    for gate, part in (("real_gate", real), ("imaginary_gate", imaginary)):
        squeeze = layers.weights.get(f"{name}.{gate}.squeeze.weight")
        if squeeze is None:
            share = torch.full(part.shape[:2], 0.5, dtype=part.dtype)
        else:
            hidden = (part.mean((2, 3)) @ squeeze.T).clamp(min=0)
            share = torch.sigmoid(hidden @ layers.weights[f"{name}.{gate}.excite.weight"].T)
        changed.append(part * share[:, :, None, None])
    z = torch.complex(z.real + changed[0], z.imag + changed[1])
    columns = torch.einsum("hg,bcgw->bchw", fourier(height, inverse=True), z)
    # The other half of a row's spectrum is the mirror; of frequencies 0 and w/2 the real part counts.
    full = torch.zeros(*columns.shape[:3], width, dtype=columns.dtype)
    for frequency in range(half):
        value = columns[..., frequency]
        if frequency in (0, width / 2):
            full[..., frequency] = value.real.to(value.dtype)
        else:
            full[..., frequency], full[..., width - frequency] = value, value.conj()
    return torch.einsum("bchv,vw->bchw", full, fourier(width, inverse=True)).real


def topic_mean(x: Tensor, groups: list[int]) -> Tensor:
    return torch.stack(
        [torch.stack([x[j] for j, other in enumerate(groups) if other == mine]).mean(0) for mine in groups]
    )


def topic_attention(layers: Layers, y: Tensor, groups: list[int], heads: int) -> Tensor:
    name = "fusion.attention"
    mixed = y + topic_mean(y + layers.linear(f"{name}.context", y), groups)
    q, p = layers.linear(f"{name}.query", y), layers.linear(f"{name}.query", mixed)
    k, v = layers.linear(f"{name}.key", y), layers.linear(f"{name}.value", y)
    gathered = mix(attend(p, k, heads), v)
    return layers.linear(f"{name}.output", mix(attend(q, p, heads), gathered))


def plain_attention(layers: Layers, y: Tensor, heads: int) -> Tensor:
    name = "fusion.attention"
    q, k, v = (layers.linear(f"{name}.{part}", y) for part in ("query", "key", "value"))
    return layers.linear(f"{name}.output", mix(attend(q, k, heads), v))


def peer_reference(
    model: PeerNetwork, image: Tensor, text: Tensor | None, groups: list[int], labels: Tensor
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return logits, loss and the scores that patches are chosen by."""
    config, layers, batch = model.config, Layers(model), len(image)  # type: ignore[arg-type]
    is_tgca = config.network == "tgca-pvt"
    global_tokens: list[Tensor] = []
    contexts: list[Tensor] = []
    local_tokens: list[Tensor] = []
    all_scores: list[Tensor] = []
    for stage in range(4):
        name, last = f"backbone.stages.{stage}", stage == 3
        has_token = last or config.local_stages[stage]
        if is_tgca:
            image = frequencies(layers, f"frequencies.{stage}", image)
        x = layers.patchify(f"{name}.patch_projection", image)
        grid = (x.shape[1], x.shape[2])
        x = layers.norm(f"{name}.patch_norm", x.flatten(1, 2), 1e-5)
        if has_token:
            x = torch.cat([layers.weights[f"{name}.class_token"].repeat(batch, 1, 1), x], dim=1)
        x = x + positions(
            layers.weights[f"{name}.position_embedding"], *grid, last=last, class_token=has_token
        )
        maps = []
        for number in range(config.depths[stage]):
            shape = {"grid": grid, "heads": config.num_heads[stage], "ratio": config.sr_ratios[stage]}
            x, attention = block(layers, f"{name}.blocks.{number}", x, **shape)  # type: ignore[arg-type]
            maps.append(attention)
        patches = x[:, has_token:]
        image = patches.reshape(batch, *grid, -1).permute(0, 3, 1, 2)
        if not has_token:
            continue
        mixed = x
        if is_tgca:
            # As published: every token of the stage is mixed, and the class token's is used.
            mixed = x + topic_mean(x + layers.linear(f"topic_contexts.{stage}", x), groups)
        token, context = x[:, 0], mixed[:, 0]
        if config.uses_local_tokens:
            scores = reattention(maps, last=last)
            all_scores.append(scores)
            count = config.alpha * config.sr_ratios[stage] ** 2
            chosen = scores.sort(dim=-1, descending=True, stable=True).indices[..., :count].flatten(1)
            parts = torch.stack([patches[b, chosen[b]] for b in range(batch)])
            if is_tgca:
                largest = parts.max(dim=1, keepdim=True).values.expand_as(parts)
                parts = soft_fusion(parts, largest)
            local_tokens.append(parts if last else layers.projection(f"local_projections.{stage}", parts))
        if not last:
            token = layers.projection(f"global_projections.{stage}", token)
            context = layers.projection(f"global_projections.{stage}", context)
        global_tokens.append(token)
        contexts.append(context)
    visual = torch.stack(global_tokens[::-1], dim=1)
    if is_tgca:
        visual = soft_fusion(visual, torch.stack(contexts[::-1], dim=1))
    if local_tokens:
        visual = torch.cat([visual, torch.cat(local_tokens, dim=1).flip(1)], dim=1)
    visual = layers.norm("token_norm", visual, 1e-6)
    fused = visual[:, 0]
    if config.network != "pvt":
        x = layers.linear("visual_projection", visual)
        if text is not None:
            x = torch.cat([x, layers.linear("text_projection", text)], dim=1)
        x = x + layers.weights["token_positions"]
        y = layers.norm("fusion.attention_norm", x, 1e-6)
        heads = config.fusion_heads
        x = x + (topic_attention(layers, y, groups, heads) if is_tgca else plain_attention(layers, y, heads))
        x = x + layers.mlp("fusion.mlp", layers.norm("fusion.mlp_norm", x, 1e-6))
        fused = x[:, 0]
    logits = layers.linear("head", fused)
    return logits, classification_loss(logits, labels, config.label_smoothing), all_scores
