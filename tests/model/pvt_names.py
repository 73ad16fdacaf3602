"""Names of a block's parts in transformers' PVT, by our names."""

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
