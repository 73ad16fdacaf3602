"""The place of the shipped checkpoint."""

from __future__ import annotations

from pathlib import Path


def checkpoint_path() -> Path:
    """Return the folder of the shipped checkpoint, as vLLM and transformers load it.

    Raises:
        FileNotFoundError: this installation lacks the weights.
    """
    folder = Path(__file__).parent / "checkpoint"
    if not (folder / "model.safetensors").exists():
        raise FileNotFoundError(
            f"{folder} has no model.safetensors; install the project with its data files or train the "
            "tiny LLaVA again with `python -m mghft.pipeline.tiny_llava.train --out DIR`."
        )
    return folder
