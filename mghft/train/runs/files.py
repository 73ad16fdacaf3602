"""Reading the files of a run folder besides tensors; needs no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mghft.train.runs.records import EpochRecord


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}): remove its folder and train again") from None
    return content


def read_metrics(run: Path) -> list[EpochRecord]:
    """Read the lines of metrics.jsonl; a line cut off by a kill is left out."""
    file = run / "metrics.jsonl"
    if not file.is_file():
        return []
    records = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def epoch_line(record: EpochRecord, epochs: int) -> str:
    """Return one epoch as a line for people."""
    waiting = record["seconds_waiting"] / max(record["seconds"], 1e-9)
    stages = [f"{value:.3f}" for name, value in sorted(record.items()) if name.startswith("alignment_loss_")]
    alignment = f"{record['alignment_loss']:.3f}" + (f" = {' + '.join(stages)}" if len(stages) > 1 else "")
    return (
        f"epoch {record['epoch']}/{epochs}  loss {record['loss']:.3f} "
        f"(class {record['classification_loss']:.3f}, alignment {alignment})  "
        f"validation accuracy {record['validation_accuracy']:.3f}{' *' if record['best'] else '  '} "
        f"F1 {record['validation_f1_macro']:.3f}  lr {record['lr']:.1e}  "
        f"{record['stickers_per_second']:.0f} stickers/s, {waiting:.0%} waiting, {record['memory_mb']:.0f} MB"
    )
