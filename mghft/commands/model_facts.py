"""What `mghft model info` prints of a cost: table, remarks, JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mghft.model.config import MGHFTConfig
    from mghft.model.cost import Cost, PartCost
    from mghft.model.peers.config import PeerConfig

# Of the text of a view, unless told otherwise.
VIEW_TOKENS = 512


def texts_read(config: MGHFTConfig | PeerConfig) -> tuple[int, int]:
    """Return how many texts of a sticker the network reads, and how long they are unless told otherwise."""
    from mghft.model.peers.config import PeerConfig

    return (1, config.text_length) if isinstance(config, PeerConfig) else (len(config.views), VIEW_TOKENS)


def _as_released(config: MGHFTConfig | PeerConfig, encoder: int) -> int | None:
    """Count parameters as the released code has them, `encoder` of them the text encoder's."""
    from mghft.model.cost import released_parameters
    from mghft.model.peers import build
    from mghft.model.peers.config import PeerConfig

    if not isinstance(config, PeerConfig):
        return released_parameters(config, encoder) if encoder else None
    # PVT's own release is a classifier of ImageNet; nobody released PVT + BERT.
    return None if config.network.startswith("pvt") else build.released_parameters(config) + encoder


def cost_facts(
    config: MGHFTConfig | PeerConfig, cost: Cost, encoder: PartCost | None, text_tokens: int
) -> dict[str, Any]:
    """Return the content of --json."""
    facts: dict[str, Any] = {
        "parts": [part._asdict() for part in cost.parts],
        "parameters": cost.parameters,
        "flops": cost.flops,
        "forward_activation_bytes": cost.forward_bytes,
        "training_activation_bytes": cost.training_bytes,
        "text_encoder": None,
        "visual_tokens": config.num_visual_tokens,
        "config": config.model_dump(mode="json"),
    }
    if (released := _as_released(config, 0)) is not None:
        facts["parameters_as_released"] = released
    if encoder is not None:
        facts["text_encoder"] = {
            **encoder._asdict(),
            "texts": texts_read(config)[0],
            "tokens": text_tokens,
            "parameters_with_model": cost.parameters + encoder.parameters,
            "parameters_as_released": _as_released(config, encoder.parameters),
        }
    return facts


def cost_rows(cost: Cost, encoder: PartCost | None) -> list[tuple[str, str, str]]:
    """Parts, their sum and the text encoder, each with parameters and GFLOPs."""
    from mghft.model.cost import PartCost

    rows = [*cost.parts, PartCost("total", cost.parameters, cost.flops), *filter(None, [encoder])]
    return [(row.name, f"{row.parameters:,}", f"{row.flops / 1e9:.3f}") for row in rows]


def cost_remarks(
    config: MGHFTConfig | PeerConfig, cost: Cost, encoder: PartCost | None, text_tokens: int
) -> Iterator[str]:
    """Return the lines below the table."""
    tokens = config.num_visual_tokens
    read = f"{tokens} visual tokens enter the fusion" if tokens > 1 else "read by the last class token alone"
    yield f"image {config.image_size} px, {read}"
    yield (
        f"activations of a sticker in float32: {cost.forward_bytes / 1e6:.0f} MB at most in evaluation, "
        f"{cost.training_bytes / 1e6:.0f} MB kept for the backward pass"
    )
    if encoder is None:
        if (released := _as_released(config, 0)) is not None:
            yield f"as the released code counts {released:,} parameters"
        return
    texts = texts_read(config)[0]
    counted = "1 text" if texts == 1 else f"{texts} texts"
    yield f"the text encoder reads {counted} of {text_tokens} tokens, once per sticker"
    released = _as_released(config, encoder.parameters)
    more = "" if released is None else f"; as the released code counts {released:,}"
    yield f"with it {cost.parameters + encoder.parameters:,} parameters{more}"
