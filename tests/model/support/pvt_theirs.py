"""Transformers' PVT for a configuration of ours: its shape, and what it calls a block's parts."""

from typing import Any

from transformers import PvtConfig

from mghft.model import MGHFTConfig

BLOCK_NAMES = {
    "attention_norm": "layer_norm_1",
    "mlp_norm": "layer_norm_2",
    "attention.query": "attention.self.query",
    "attention.output": "attention.output.dense",
    "attention.reduction": "attention.self.sequence_reduction",
    "attention.reduction_norm": "attention.self.layer_norm",
    "mlp.fc1": "mlp.dense1",
    "mlp.fc2": "mlp.dense2",
}


def pvt_config(config: MGHFTConfig, side: int, **more: Any) -> PvtConfig:
    """The same shape for pictures of `side` pixels."""
    return PvtConfig(
        image_size=side,
        hidden_sizes=list(config.embed_dims),
        depths=list(config.depths),
        num_attention_heads=list(config.num_heads),
        mlp_ratios=list(config.mlp_ratios),
        sequence_reduction_ratios=list(config.sr_ratios),
        **more,
    )
