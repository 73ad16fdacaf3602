"""A trained run as an ONNX file that says how it is used, and what its accuracy is on a split."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mghft.inference.weights import find_weights
from mghft.model.joint import load_network
from mghft.model.onnx_export import (
    OnnxExport,
    OnnxExportError,
    export_onnx,
    open_session,
    quantize_onnx,
    run_session,
)
from mghft.model.peers import TGCAPVT
from mghft.pipeline.source import project_version
from mghft.train.data.splits import Split
from mghft.train.evaluation.opened_run import OpenedRun, open_run
from mghft.train.evaluation.trained_runs import open_runs

METADATA_KEY = "mghft"


@dataclass(frozen=True)
class ExportedRun:
    """The files of an export.

    Attributes:
        network: in float32.
        quantized: in int8, where it was asked for.
        accuracy: on a split, of "PyTorch", "ONNX" and "int8", where one was asked for.
    """

    network: OnnxExport
    quantized: OnnxExport | None
    accuracy: dict[str, float]


def export_run(
    source: Path, out: Path, *, quantize: bool = False, split: str | None = None, batch_size: int = 64
) -> ExportedRun:
    """Export the weights of a run, and measure what that costs.

    The metadata `mghft` of a file is JSON with the content of inference.json (labels, size, crop, mean, std,
    text encoder, temperature) and the inputs.

    Args:
        source: run folder of `mghft train`, or a folder of weights.
        out: ONNX file; the quantised one is called NAME.int8.onnx beside it.
        quantize: also write one with int8 weights.
        split: whose accuracy is measured; the run's corpus and descriptions must be where they were.
        batch_size: stickers at a time.

    Raises:
        OnnxExportError: it cannot be exported, or is not equal; nothing is written.
        ValueError, FileNotFoundError: there are no weights, or `split` without a run's data.
    """
    if out.suffix != ".onnx":
        raise ValueError(f"{out} is no name of an ONNX file: end it in .onnx")
    found = find_weights(source)
    if found.inference.text is not None and found.inference.text.tuned:
        raise OnnxExportError(
            f"{source} trained its text encoder along: export it with a frozen one, whose "
            "features any program "
            "can compute, or serve it with `mghft serve`"
        )
    network = load_network(found.folder)
    if isinstance(network, TGCAPVT):
        network.set_topic_context("self")
    facts = {**found.inference.model_dump(mode="json"), "version": project_version()}
    exported = export_onnx(network, out, metadata={METADATA_KEY: json.dumps(facts, ensure_ascii=False)})
    quantized = quantize_onnx(out, out.with_name(f"{out.stem}.int8.onnx")) if quantize else None
    accuracy = {}
    if split is not None:
        accuracy = _accuracy(source, split, batch_size, exported, quantized)
    return ExportedRun(exported, quantized, accuracy)


def _accuracy(
    source: Path, name: str, batch_size: int, exported: OnnxExport, quantized: OnnxExport | None
) -> dict[str, float]:
    (run,) = open_runs([source])
    opened = open_run(run, [name])
    split = opened.splits[name]
    found = {"PyTorch": opened.predict(split, batch_size=batch_size)}
    found["ONNX"] = session_logits(open_session(exported.path), opened, split, batch_size)
    if quantized is not None:
        found["int8"] = session_logits(open_session(quantized.path), opened, split, batch_size)
    return {system: float((rows.argmax(1) == split.labels).mean()) for system, rows in found.items()}


def session_logits(session: Any, opened: OpenedRun, split: Split, batch_size: int) -> NDArray[np.float64]:
    """Return the logits of a split, [n, classes], by onnxruntime on the run's own input."""
    rows = []
    names = {one.name for one in session.get_inputs()}
    for start in range(0, len(split.stickers), batch_size):
        indices = torch.arange(start, min(start + batch_size, len(split.stickers)))
        pixels = torch.stack([opened.transform(split.images[int(index)]) for index in indices])
        text: dict[str, Any] = dict(split.text_inputs(indices, torch.device("cpu")))
        inputs = {"image": pixels, **{key: value for key, value in text.items() if key in names}}
        rows.append(run_session(session, inputs).double().numpy())
    return np.concatenate(rows)
