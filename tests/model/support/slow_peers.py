"""The formulas of LORA and TGCA-PVT written out, slowly and without any shortcut, in the weights' precision.

Shares nothing with `mghft/model/` but the parameters: every soft fusion, context and attention is formed for
every token and sticker, topics are compared one by one, the spectrum is a sum of waves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from slow_reference import (
    Layers,
    attend,
    classification_loss,
    fusion_block,
    mix,
    reattention,
    stage_of_pvt,
)
from torch import Tensor

from mghft.model.peers import Peer


class SlowPeer(NamedTuple):
    """What `PeerOutput` holds; the scores that patches were chosen by; inputs of the stages."""

    logits: Tensor
    loss: Tensor | None
    visual_tokens: Tensor
    indices: list[Tensor]
    scores: list[Tensor]
    stage_inputs: list[Tensor]


def waves(length: int, dtype: torch.dtype, *, sign: int) -> Tensor:
    """[length, length] matrix of the discrete Fourier transform, orthonormal."""
    numbers = torch.arange(length, dtype=torch.float64)
    angles = sign * 2 * math.pi * numbers[:, None] * numbers[None, :] / length
    matrix = torch.polar(torch.ones_like(angles), angles) / math.sqrt(length)
    return matrix.to(torch.complex128 if dtype == torch.float64 else torch.complex64)


def gate(layers: Layers, name: str, x: Tensor) -> Tensor:
    if f"{name}.reduce.weight" not in layers.weights:
        # A product through no channel at all is 0.
        return x * torch.sigmoid(torch.zeros((), dtype=x.dtype))
    squeezed = (x.mean(dim=(2, 3)) @ layers.weights[f"{name}.reduce.weight"].T).clamp(min=0)
    return x * torch.sigmoid(squeezed @ layers.weights[f"{name}.expand.weight"].T)[:, :, None, None]


def frequency(layers: Layers, name: str, x: Tensor) -> Tensor:
    """The frequency module with its released matrices, of which ours are the diagonals."""
    height, width = x.shape[2:]
    half = width // 2 + 1
    full = waves(height, x.dtype, sign=-1) @ x.to(waves(1, x.dtype, sign=1).dtype)
    spectrum = (full @ waves(width, x.dtype, sign=-1))[..., :half]
    a, b = (layers.weights[f"{name}.{part}"].flatten() for part in ("real", "imaginary"))
    bias_a, bias_b = (layers.weights[f"{name}.{part}_bias"] for part in ("real", "imaginary"))
    mixed_real = torch.zeros_like(spectrum.real)
    mixed_imaginary = torch.zeros_like(spectrum.real)
    for channel in range(x.shape[1]):
        real, imaginary = spectrum[:, channel].real, spectrum[:, channel].imag
        mixed_real[:, channel] = a[channel] * real - b[channel] * imaginary + bias_a[channel]
        mixed_imaginary[:, channel] = a[channel] * imaginary + b[channel] * real + bias_b[channel]
    new_real = spectrum.real + gate(layers, f"{name}.real_gate", mixed_real.clamp(min=0))
    new_imaginary = spectrum.imag + gate(layers, f"{name}.imaginary_gate", mixed_imaginary.clamp(min=0))
    columns = waves(height, x.dtype, sign=1) @ torch.complex(new_real, new_imaginary)
    numbers = torch.arange(width, dtype=torch.float64)
    image = torch.zeros_like(x)
    for k in range(half):
        # Every frequency but 0 and w / 2 stands for its mirror image too.
        twice = 1 if k == 0 or 2 * k == width else 2
        angle = (2 * math.pi * k * numbers / width).to(x.dtype)
        column = columns[..., k : k + 1]
        wave = column.real * angle.cos() - (column.imag * angle.sin() if twice == 2 else 0)
        image = image + twice * wave / math.sqrt(width)
    return image


def topic_mean(x: Tensor, topics: Sequence[object]) -> Tensor:
    rows = []
    for topic in topics:
        mates = [number for number, other in enumerate(topics) if other == topic]
        rows.append(sum((x[mate] for mate in mates[1:]), x[mates[0]]) / len(mates))
    return torch.stack(rows)


def context(layers: Layers, name: str, x: Tensor, topics: Sequence[object]) -> Tensor:
    return x + topic_mean(x + layers.linear(f"{name}.linear", x), topics)


def topic_block(layers: Layers, x: Tensor, heads: int, topics: Sequence[object]) -> Tensor:
    """Topic-guided attention of all tokens."""
    name = "fusion.attention"
    y = layers.norm("fusion.attention_norm", x, 1e-6)
    topic = layers.linear(f"{name}.query", context(layers, f"{name}.context", y, topics))
    first = mix(attend(topic, layers.linear(f"{name}.key", y), heads), layers.linear(f"{name}.value", y))
    second = mix(attend(layers.linear(f"{name}.query", y), topic, heads), first)
    x = x + layers.linear(f"{name}.output", second)
    return x + layers.mlp("fusion.mlp", layers.norm("fusion.mlp_norm", x, 1e-6))


def slow_peer(
    model: Peer,
    image: Tensor,
    text_tokens: Tensor | None = None,
    labels: Tensor | None = None,
    *,
    topics: Sequence[object] | None = None,
    indices: list[Tensor] | None = None,
) -> SlowPeer:
    """What `model(...)` should give; topics None puts every sticker into one of its own."""
    config, layers, batch = model.config, Layers(model), len(image)  # type: ignore[arg-type]
    of_topic = config.network == "tgca-pvt"
    groups = list(range(batch)) if topics is None else list(topics)
    global_tokens: list[Tensor] = []
    contexts: list[Tensor] = []
    local_tokens: list[Tensor] = []
    found = SlowPeer(image, None, image, [], [], [])
    for stage in range(4):
        last = stage == 3
        class_token = last or config.local_stages[stage]
        if of_topic:
            image = frequency(layers, f"frequency.{stage}", image)
        found.stage_inputs.append(image)
        x, patches, image, maps = stage_of_pvt(layers, config, stage, image, class_token=class_token)
        if not class_token:
            continue

        def widen(token: Tensor, stage: int = stage) -> Tensor:
            return token if stage == 3 else layers.projection(f"global_projections.{stage}", token)

        global_tokens.append(widen(x[:, 0]))
        if of_topic:
            contexts.append(widen(context(layers, f"topic_contexts.{stage}", x[:, 0], groups)))
        if config.network in ("pvt", "pvt-bert"):
            continue
        scores = reattention(maps, last=last)
        count = config.alpha * config.sr_ratios[stage] ** 2
        top = scores.argsort(dim=-1, descending=True)[..., :count]
        if indices is not None:
            top = indices[len(found.indices)]
        found.scores.append(scores)
        found.indices.append(top)
        parts = torch.stack([torch.cat([patches[b, head] for head in top[b]]) for b in range(batch)])
        if of_topic:
            # An attention to as many copies of the largest part, channel by channel.
            copies = parts.max(dim=1, keepdim=True).values.repeat(1, parts.shape[1], 1)
            parts = parts + torch.softmax(parts @ copies.transpose(1, 2), dim=-1) @ copies
        local_tokens.append(parts if last else layers.projection(f"local_projections.{stage}", parts))

    visual = torch.stack(global_tokens[::-1], dim=1)
    if of_topic:
        t = torch.stack(contexts[::-1], dim=1)
        visual = visual + torch.softmax(visual @ t.transpose(1, 2), dim=-1) @ t
    if local_tokens:
        visual = torch.cat([visual, torch.cat(local_tokens, dim=1).flip(1)], dim=1)
    visual = layers.norm("token_norm", visual, 1e-6)
    token = visual
    if config.network != "pvt":
        token = layers.linear("visual_projection", visual)
        if text_tokens is not None:
            token = torch.cat([token, layers.linear("text_projection", text_tokens)], dim=1)
        token = token + layers.weights["token_positions"]
        token = (
            topic_block(layers, token, config.fusion_heads, groups)
            if of_topic
            else fusion_block(layers, token, None, config.fusion_heads)
        )
    logits = layers.linear("head", token[:, 0])
    loss = None if labels is None else classification_loss(logits, labels, config.label_smoothing)
    return found._replace(logits=logits, loss=loss, visual_tokens=visual)
