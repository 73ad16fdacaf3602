"""A network as an ONNX file: exported by torch.export, checked against PyTorch, or not written.

The file holds the network alone, from normalised pixels and text features to logits; what stands before it is
told by the metadata that the caller gives.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mghft.model.joint import Network
from mghft.model.mghft import MGHFT
from mghft.model.peers import TGCAPVT
from mghft.model.saving import sync

TOLERANCE = 1e-4
BATCHES = (1, 2, 5)
# Of the opset; onnxruntime 1.14 and later reads it.
OPSET = 18
_EXTRA = "pip install 'mghft[onnx]'"


class OnnxExportError(ValueError):
    """A network that cannot be exported, or whose export is not equal to it."""


@dataclass(frozen=True)
class OnnxExport:
    """What was written.

    Attributes:
        path: of the file.
        inputs: names of its inputs, in order, with their shapes but for the batch.
        difference: largest absolute difference of the logits from PyTorch's.
        megabytes: size of the file.
    """

    path: Path
    inputs: Mapping[str, tuple[int, ...]]
    difference: float
    megabytes: float


def export_onnx(
    model: Network, path: Path, *, metadata: Mapping[str, str], tolerance: float = TOLERANCE
) -> OnnxExport:
    """Export a network with a batch of any size; the file appears only once it is checked.

    Args:
        model: MGHFT or a peer.
        path: of the file; an earlier one is replaced.
        metadata: kept in the file (`metadata_props`).
        tolerance: of the logits, absolute, over batches of 1, 2 and 5 with views present and missing.

    Raises:
        OnnxExportError: the network reads who shares its batch, or its logits differ by more.
        ModuleNotFoundError: onnx, onnxscript or onnxruntime is not installed.
    """
    import onnx

    network = _network(model)
    shapes = input_shapes(model)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        proto = _trace(network, shapes)
        onnx.helper.set_model_props(proto, dict(metadata))
        onnx.save_model(proto, temporary)
        difference = largest_difference(network, temporary, shapes)
        if not difference <= tolerance:
            raise OnnxExportError(
                f"the exported network's logits differ from PyTorch's by {difference:.2g}, more than "
                f"{tolerance:g}: nothing was written"
            )
        _move(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return OnnxExport(path, shapes, difference, path.stat().st_size / 1e6)


def quantize_onnx(source: Path, path: Path) -> OnnxExport:
    """Write a file with weights of matrix products in int8, activations quantised as they come.

    Its logits are others: how much that costs is for the caller to measure. `difference` is that from the
    source, on random inputs.

    Raises:
        ModuleNotFoundError: onnxruntime is not installed.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with _hushed():
            # Convolutions have no dynamic kernel on most processors.
            quantize_dynamic(
                source, temporary, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"]
            )
        session = open_session(source)
        shapes = {one.name: tuple(one.shape[1:]) for one in session.get_inputs()}
        inputs = random_inputs(shapes, 5, seed=0)
        other = open_session(temporary)
        difference = float((run_session(session, inputs) - run_session(other, inputs)).abs().max())
        _move(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return OnnxExport(path, shapes, difference, path.stat().st_size / 1e6)


def input_shapes(model: Network) -> dict[str, tuple[int, ...]]:
    """Return the network's inputs and their shapes but for the batch."""
    config = model.config
    shapes: dict[str, tuple[int, ...]] = {"image": (3, config.image_size, config.image_size)}
    if isinstance(model, MGHFT):
        if model.config.use_text:
            views = len(model.config.views)
            shapes |= {"text_features": (views, model.config.text_dim), "text_mask": (views,)}
    elif model.config.use_text:
        shapes["text_tokens"] = (model.config.text_length, model.config.text_dim)
    return shapes


def random_inputs(shapes: Mapping[str, Sequence[int]], batch: int, *, seed: int) -> dict[str, Tensor]:
    """Return random inputs of a batch; of a mask about a third is False, and the first row whole."""
    generator = torch.Generator().manual_seed(seed)
    inputs = {}
    for name, shape in shapes.items():
        drawn = torch.randn(batch, *shape, generator=generator)
        if name == "text_mask":
            drawn = drawn > -0.43
            drawn[:1] = True
        inputs[name] = drawn
    return inputs


def largest_difference(network: nn.Module, path: Path, shapes: Mapping[str, Sequence[int]]) -> float:
    """Return the largest absolute difference of the logits over several batches."""
    session = open_session(path)
    largest = 0.0
    for batch in BATCHES:
        inputs = random_inputs(shapes, batch, seed=batch)
        with torch.inference_mode():
            expected = network(*inputs.values())
        largest = max(largest, float((run_session(session, inputs) - expected).abs().max()))
    return largest


def open_session(path: Path, threads: int | None = None) -> Any:
    """Open a file in onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run_session(session: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the logits of a batch, [n, classes]."""
    (logits,) = session.run(["logits"], {name: value.numpy() for name, value in inputs.items()})
    return torch.from_numpy(logits)


class _Logits(nn.Module):
    """The network with its inputs in order and its logits alone."""

    def __init__(self, model: Network, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, tuple(names)

    def forward(self, *inputs: Tensor) -> Tensor:
        logits: Tensor = self.model(**dict(zip(self.names, inputs, strict=True))).logits
        return logits


def _network(model: Network) -> nn.Module:
    if isinstance(model, TGCAPVT) and model.config.topic_context != "self":
        raise OnnxExportError(
            f"the topic context of this TGCA-PVT is {model.config.topic_context!r}: its logits depend on who "
            "shares the batch, which no file can say; export it with the topic context self"
        )
    return _Logits(model.float().cpu().eval(), list(input_shapes(model))).eval()


def _trace(network: nn.Module, shapes: Mapping[str, Sequence[int]]) -> Any:
    example = tuple(random_inputs(shapes, 2, seed=0).values())
    batch = torch.export.Dim("batch", min=1)
    with _hushed():
        program = torch.onnx.export(
            network,
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(shapes),
            output_names=["logits"],
            dynamic_shapes=(tuple({0: batch} for _ in example),),
            verbose=False,
        )
    assert program is not None
    return program.model_proto


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep the exporters' news to themselves."""
    root = logging.getLogger()
    before = root.disabled
    # onnxruntime's quantiser speaks by the root logger.
    root.disabled = True
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        root.disabled = before


def _move(temporary: Path, path: Path) -> None:
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


Quantization = Literal["int8"]
