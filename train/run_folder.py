"""The run folder of training: who may write into it, and the files a person reads.

`config.json` (fully resolved), `metrics.jsonl`, `checkpoints/`, `best/`, and `summary.json` once finished.
"""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from model import MGHFTConfig
from train.checkpoints import checkpoint_paths, mend_folder, replace_folder
from train.config import TrainConfig
from train.text_tuning import Trained


class RunFolder:
    """Files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.json"
        self.metrics_file = path / "metrics.jsonl"
        self.summary_file = path / "summary.json"

    def check(self, identity: dict[str, Any], *, resume: bool) -> bool:
        """True when the run in the folder is this one and finished; False when there is work to do.

        Raises:
            ValueError: the folder holds a run of another configuration (the fields are named), an
                unfinished run that shall not be resumed, or other things.
        """
        if not self.config_file.is_file():
            if self.path.is_dir() and any(self.path.iterdir()):
                raise ValueError(
                    f"the folder {self.path} holds files but no training run: "
                    "give --out an empty or new folder"
                )
            if self.path.exists() and not self.path.is_dir():
                raise ValueError(f"{self.path} is a file: give --out a folder")
            return False
        differing = _differing(read_json(self.config_file)["identity"], identity)
        if differing:
            raise ValueError(
                f"the folder {self.path} holds a run of another configuration, they differ in "
                f"{', '.join(differing)}: choose another --out or the same settings"
            )
        if self.summary_file.is_file():
            return True
        if not resume:
            raise ValueError(
                f"the folder {self.path} holds an unfinished run of this configuration: "
                "add --resume to go on, or choose another --out"
            )
        return False

    def begin(
        self,
        identity: dict[str, Any],
        config: TrainConfig,
        model_config: MGHFTConfig,
        labels: tuple[str, ...],
    ) -> None:
        """Writes config.json, and sets right what a killed run left half done."""
        self.path.mkdir(parents=True, exist_ok=True)
        mend_folder(self.path / "best")
        resolved = {
            "identity": identity,
            "config": config.model_dump(mode="json"),
            "model": model_config.model_dump(mode="json"),
            "labels": list(labels),
            "versions": {name: version(name) for name in ("torch", "accelerate", "timm")},
        }
        write_json(self.config_file, resolved)

    def resume_from(self) -> Path | None:
        """The last complete checkpoint; without one the run begins anew."""
        for leftover in (self.path / "checkpoints").glob(".step-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        found = checkpoint_paths(self.path)
        if not found:
            self.metrics_file.unlink(missing_ok=True)
            return None
        return found[-1]

    def keep_metrics(self, epochs: int) -> None:
        """Drops the lines of epochs that the checkpoint does not know; they will be run again."""
        lines = [line for line in read_metrics(self.path) if line["epoch"] <= epochs]
        part = self.metrics_file.with_suffix(".part")
        part.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        part.replace(self.metrics_file)

    def add_metrics(self, line: dict[str, Any]) -> None:
        with self.metrics_file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def write_best(self, model: Trained, line: dict[str, Any]) -> None:
        """Weights and card of the best epoch so far."""

        def write(folder: Path) -> None:
            model.save_pretrained(folder)
            (folder / "README.md").write_text(model_card(read_json(self.config_file), line), encoding="utf-8")

        replace_folder(self.path / "best", write)

    def note_bad_batch(self, state: dict[str, Any], losses: dict[str, float], ids: list[str]) -> str:
        """Keeps the ids of a batch whose loss is not finite; returns the sentence to stop with."""
        file = self.path / "bad_batch.json"
        write_json(
            file, {"step": state["step"], "losses": {k: str(v) for k, v in losses.items()}, "ids": ids}
        )
        return (
            f"the loss is {losses['loss']} at epoch {state['epoch'] + 1}, step {state['step']}: "
            f"lower the learning rate or set clip_grad (the batch's sticker ids are in {file})"
        )

    def finish(self, state: dict[str, Any]) -> None:
        """Marks the run as finished."""
        names = ("best_epoch", "best_accuracy", "best_loss", "epoch", "step")
        write_json(self.summary_file, {name: state[name] for name in names})


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
    return (
        f"epoch {line['epoch']}/{epochs}  loss {line['loss']:.3f} "
        f"(class {line['classification_loss']:.3f}, alignment {line['alignment_loss']:.3f})  "
        f"validation accuracy {line['validation_accuracy']:.3f}{' *' if line['best'] else '  '} "
        f"F1 {line['validation_f1_macro']:.3f}  lr {line['lr']:.1e}  "
        f"{line['stickers_per_second']:.0f} stickers/s, {waiting:.0%} waiting, {line['memory_mb']:.0f} MB"
    )


def model_card(resolved: dict[str, Any], line: dict[str, Any]) -> str:
    """README.md beside the best weights."""
    config = resolved["config"]
    text = f"with text ({config['text_encoder']})" if config["use_text"] else "without text"
    return f"""---
license: apache-2.0
tags: [mghft, sticker-emotion, image-classification]
---
# MGHFT {text} on {config["card"]}

Weights of epoch {line["epoch"]} of {config["epochs"]} (recipe `{config["recipe"]}`), best on validation.

| validation | |
|---|---|
| accuracy | {line["validation_accuracy"]:.4f} |
| F1 macro | {line["validation_f1_macro"]:.4f} |
| F1 weighted | {line["validation_f1_weighted"]:.4f} |

Labels, in index order: {", ".join(resolved["labels"])}.

    from model import MGHFT
    model = MGHFT.from_pretrained("path/to/this/folder")

Please cite the corpus and "MGHFT: Multi-Granularity Hierarchical Fusion Transformer for Cross-Modal Sticker
Emotion Recognition" (ACM MM 2025, arXiv 2507.18929).
"""


def _differing(old: Any, new: Any, name: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        found: list[str] = []
        for key in sorted(old.keys() | new.keys()):
            found += _differing(old.get(key), new.get(key), f"{name}.{key}" if name else key)
        return found
    return [] if old == new else [name]
