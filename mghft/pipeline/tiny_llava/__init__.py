"""The shipped interpreter, a tiny LLaVA that lets the whole pipeline run without downloads; its training."""

from pathlib import Path


def checkpoint_path() -> Path:
    """Folder of the shipped checkpoint, as vLLM and transformers load it.

    Raises:
        FileNotFoundError: this installation lacks the weights.
    """
    folder = Path(__file__).parent / "checkpoint"
    if not (folder / "model.safetensors").exists():
        raise FileNotFoundError(
            f"{folder} has no model.safetensors; install the project with its data files or train the "
            "interpreter again with `python -m mghft.pipeline.tiny_llava.train --out DIR`."
        )
    return folder


__all__ = ["checkpoint_path"]
