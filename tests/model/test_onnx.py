"""ONNX files: logits as PyTorch's for a batch of any size, refused otherwise, and what they say "
"of themselves."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from mghft.model import MGHFT, MGHFTConfig
from mghft.model.onnx_export import (
    OnnxExportError,
    export_onnx,
    input_shapes,
    open_session,
    quantize_onnx,
    random_inputs,
    run_session,
)
from mghft.model.peers import PeerConfig, build_network

TINY: dict[str, Any] = {
    "image_size": 32,
    "embed_dims": [8, 16, 40, 64],
    "depths": [2, 2, 2, 2],
    "num_classes": 3,
}


@functools.cache
def network(name: str) -> Any:
    torch.manual_seed(0)
    if name.startswith("mghft"):
        fields = {**TINY, "use_text": False} if name == "mghft-no-text" else {**TINY, "text_dim": 16}
        return MGHFT(MGHFTConfig.preset("tiny", **fields)).eval()
    reads = name in ("pvt-bert", "lora", "tgca-pvt")
    fields = {**TINY, "network": name, **({"text_dim": 16} if reads else {})}
    model = build_network(PeerConfig.preset("tiny", **fields)).eval()
    with torch.no_grad():
        for part, parameter in model.named_parameters():
            # With new weights all patches score alike, and the last bit decides which are selected.
            if parameter.ndim == 2 and ("query" in part or "key" in part):
                parameter *= 20
    return model


@pytest.mark.parametrize("name", ["mghft", "mghft-no-text", "pvt-bert", "lora"])
def test_logits_are_those_of_pytorch_for_any_batch(name: str, tmp_path: Path) -> None:
    model = network(name)
    path = tmp_path / "deep" / "model.onnx"
    done = export_onnx(model, path, metadata={"mghft": '{"labels": ["a", "ü"]}'})
    assert done.difference < 1e-4 and done.path == path
    assert [one.name for one in path.parent.iterdir()] == ["model.onnx"]
    session = open_session(path, threads=1)
    shapes = input_shapes(model)
    for batch in (1, 3, 7):
        inputs = random_inputs(shapes, batch, seed=100 + batch)
        with torch.inference_mode():
            expected = model(**inputs).logits
        assert (run_session(session, inputs) - expected).abs().max() < 1e-4
    proto = onnx.load(path)
    assert {one.key: one.value for one in proto.metadata_props}["mghft"] == '{"labels": ["a", "ü"]}'
    assert [one.name for one in proto.graph.input] == list(shapes)


def test_missing_views_count(tmp_path: Path) -> None:
    model = copy.deepcopy(network("mghft"))
    torch.nn.init.normal_(model.missing_view_embedding)
    export_onnx(model, tmp_path / "model.onnx", metadata={})
    session = open_session(tmp_path / "model.onnx")
    inputs = random_inputs(input_shapes(model), 2, seed=0)
    whole = run_session(session, {**inputs, "text_mask": torch.ones(2, 4, dtype=torch.bool)})
    none = run_session(session, {**inputs, "text_mask": torch.zeros(2, 4, dtype=torch.bool)})
    with torch.inference_mode():
        assert (model(inputs["image"]).logits - none).abs().max() < 1e-4
    assert (whole - none).abs().max() > 1e-4


def test_export_that_is_not_equal_is_refused_and_the_earlier_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mghft.model import onnx_export

    path = tmp_path / "model.onnx"
    path.write_bytes(b"earlier")
    trace = onnx_export._trace

    def tampered(*arguments: Any) -> Any:
        proto = trace(*arguments)
        for tensor in proto.graph.initializer:
            if tensor.name.endswith("head.weight"):
                values = onnx.numpy_helper.to_array(tensor) * np.float32(1.1)
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
                return proto
        raise AssertionError([tensor.name for tensor in proto.graph.initializer])

    monkeypatch.setattr(onnx_export, "_trace", tampered)
    with pytest.raises(OnnxExportError, match=r"differ from PyTorch's by .*nothing was written"):
        export_onnx(network("pvt"), path, metadata={})
    assert path.read_bytes() == b"earlier" and [one.name for one in tmp_path.iterdir()] == ["model.onnx"]


def test_topics_of_a_batch_cannot_be_exported(tmp_path: Path) -> None:
    model = copy.deepcopy(network("tgca-pvt"))
    model.set_topic_context("batch")
    with pytest.raises(OnnxExportError, match="depend on who shares the batch"):
        export_onnx(model, tmp_path / "model.onnx", metadata={})


def test_quantised_file_is_smaller_and_near(tmp_path: Path) -> None:
    model = copy.deepcopy(network("mghft"))
    done = export_onnx(model, tmp_path / "model.onnx", metadata={"mghft": "{}"})
    small = quantize_onnx(done.path, tmp_path / "model.int8.onnx")
    assert small.megabytes < done.megabytes and 0 < small.difference < 1
    kinds = {node.op_type for node in onnx.load(small.path).graph.node}
    assert "MatMulInteger" in kinds or "DynamicQuantizeMatMul" in kinds
