"""From a run folder, a folder of weights or a hub id to the weights and how they are used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mghft.pipeline.engines.model_source import TINY_LLAVA, TINY_LLAVA_IN_MANIFESTS
from mghft.pipeline.prompting.load import pack_names
from mghft.pipeline.text import near_paths
from mghft.train.runs.inference import FILE_NAME, InferenceConfig, inference_config, read_inference

_WEIGHTS = "model.safetensors"
# Nothing else is fetched, and nothing that runs code.
_FETCHED = ("config.json", _WEIGHTS, FILE_NAME, "README.md", "text_encoder/*.json", "text_encoder/*.txt")
_FETCHED_ENCODER = ("text_encoder/*.safetensors", "text_encoder/*.model")


@dataclass(frozen=True)
class FoundWeights:
    """Weights and their use.

    Attributes:
        folder: holds config.json and model.safetensors.
        inference: how they are used.
        name: for people: what the user named.
        notes: what should be known before the predictions are used, one sentence each.
    """

    folder: Path
    inference: InferenceConfig
    name: str
    notes: tuple[str, ...] = ()


def find_weights(source: str | Path, inference: InferenceConfig | None = None) -> FoundWeights:
    """Find weights; torch is not loaded for it.

    Args:
        source: run folder of `mghft train`, folder with config.json and model.safetensors, or an id on the
            Hugging Face Hub, whose safetensors and JSON files are fetched.
        inference: how they are used, where the folder does not say it (a converted checkpoint).

    Raises:
        FileNotFoundError: there is no such folder or id, or it holds no weights.
        ValueError: a file is damaged, or nothing says how the weights are used.
    """
    folder = Path(source)
    if not folder.is_dir():
        folder = _fetch(str(source))
    if (folder / "best" / _WEIGHTS).is_file():
        folder = folder / "best"
    for name in ("config.json", _WEIGHTS):
        if not (folder / name).is_file():
            unfinished = (folder / "checkpoints").is_dir() or (folder / "metrics.jsonl").is_file()
            way = "let its first epoch finish" if unfinished else "give a run folder of 'mghft train'"
            raise FileNotFoundError(f"{source} has no weights yet (no {name}): {way}")
    if inference is not None:
        return FoundWeights(folder, inference, str(source))
    found, notes = read_inference(folder), list[str]()
    if found is None:
        found = _of_earlier_run(folder)
    if found is None:
        raise ValueError(
            f"{folder} has no {FILE_NAME}, which says labels, image size and text encoder: weights of "
            "another program need one (docs/python.md), of those of mghft name the run folder"
        )
    if found.temperature is None:
        notes.append(
            f"{source} says no temperature (its training is of an earlier version): probabilities are not "
            "calibrated"
        )
    return FoundWeights(folder, found, str(source), tuple(notes))


def _of_earlier_run(folder: Path) -> InferenceConfig | None:
    """Return the use of weights of a run of before there was such a file; None where they are of no run."""
    from mghft.pipeline.corpora.card import load_card
    from mghft.train.config import build_config

    try:
        resolved: dict[str, Any] = json.loads((folder.parent / "config.json").read_text(encoding="utf-8"))
        fields, labels = resolved["config"], tuple(resolved["labels"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    config = build_config({**fields, "tracker": None, "resume": False, "allow_changes": ()})
    saved = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    try:
        corpus = load_card(config.card).title
    except (OSError, ValueError):
        corpus = config.card
    return inference_config(
        config,
        labels=labels,
        image_size=int(saved["image_size"]),
        views=tuple(saved.get("views", ())),
        corpus=corpus,
        text_length=saved.get("text_length"),
    )


def _fetch(source: str) -> Path:
    """Return the folder of a hub model, from the local cache or the hub."""
    if source.count("/") != 1 or source.startswith((".", "/", "~")):
        raise FileNotFoundError(
            f"{source} does not exist{near_paths(Path(source))}: give a run folder of 'mghft "
            "train', a folder of weights, or a hub id "
            "like owner/name"
        )
    import huggingface_hub

    patterns = [*_FETCHED, *_FETCHED_ENCODER]
    try:
        return Path(huggingface_hub.snapshot_download(source, allow_patterns=patterns, local_files_only=True))
    except Exception:
        # Not cached: the hub is asked. Any failure there has one meaning for the user, said below.
        pass
    try:
        return Path(huggingface_hub.snapshot_download(source, allow_patterns=patterns))
    except Exception as error:
        raise FileNotFoundError(
            f"{source} is no folder here, and as a hub id neither cached nor reachable "
            f"({type(error).__name__})"
        ) from None


def engine_fields(
    found: FoundWeights, fields: Mapping[str, Any], *, use_text: bool, required: bool
) -> dict[str, Any]:
    """Return fields of a command with the model and prompt pack that describe pictures for these weights.

    Without a model among them it is the one that described what the weights were trained on.

    Args:
        fields: nested; `engine` and `prompt` are looked at.
        use_text: whether pictures are to be described at all.
        required: whether not to know a model is an error.

    Raises:
        ValueError: the weights read no descriptions and a model is given, or none is known.
    """
    nested = dict(fields)
    text = found.inference.text
    if text is None or not use_text:
        if "engine" in nested:
            reason = "reads no descriptions" if text is None else "is to judge by the picture alone"
            raise ValueError(f"{found.name} {reason}: leave --model out")
        return nested
    engine = dict(nested.get("engine") or {})
    if "model" not in engine and text.described_by is None:
        if not required:
            return nested
        raise ValueError(
            f"{found.name} reads descriptions, and what wrote those of its training is not known: give "
            "--model, --descriptions RUN, or --no-text"
        )
    known = TINY_LLAVA if text.described_by == TINY_LLAVA_IN_MANIFESTS else text.described_by
    nested["engine"] = {"model": known, **engine}
    if "prompt" not in nested and text.prompt in pack_names():
        nested["prompt"] = text.prompt
    return nested
