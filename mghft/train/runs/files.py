"""What lies in a run folder besides tensors, and how it is read; needs no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}): remove its folder and train again") from None
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl; a line cut off by a kill is left out."""
    file = run / "metrics.jsonl"
    if not file.is_file():
        return []
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def epoch_line(line: dict[str, Any], epochs: int) -> str:
    """One epoch for people."""
    waiting = line["seconds_waiting"] / max(line["seconds"], 1e-9)
    stages = [f"{line[name]:.3f}" for name in sorted(line) if name.startswith("alignment_loss_stage")]
    alignment = f"{line['alignment_loss']:.3f}" + (f" = {' + '.join(stages)}" if len(stages) > 1 else "")
    return (
        f"epoch {line['epoch']}/{epochs}  loss {line['loss']:.3f} "
        f"(class {line['classification_loss']:.3f}, alignment {alignment})  "
        f"validation accuracy {line['validation_accuracy']:.3f}{' *' if line['best'] else '  '} "
        f"F1 {line['validation_f1_macro']:.3f}  lr {line['lr']:.1e}  "
        f"{line['stickers_per_second']:.0f} stickers/s, {waiting:.0%} waiting, {line['memory_mb']:.0f} MB"
    )
