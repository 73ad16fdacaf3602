"""A model in a folder of its own, such as `mghft convert` writes, opened for an evaluation like a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mghft.model.config import MGHFTConfig
from mghft.model.peers.config import PeerConfig, TopicContext
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.settings import first_fault
from mghft.train.config import load_config
from mghft.train.data.descriptions import check_sources
from mghft.train.evaluation.trained_runs import (
    WITH_TEXT,
    WITHOUT_TEXT,
    EvalConfig,
    TrainedRun,
    in_topic_contexts,
    open_runs,
    system_name,
    topic_context,
)
from mghft.train.runs.files import read_json

# As config.json of LORA, TGCA-PVT and the others has it.
PEER_TYPE = "mghft-peer"
# How the released code reads texts: a converted checkpoint gives its own numbers with these alone.
RELEASED_TEXTS = {"view_texts": "released", "text_pooling": "last4_mean"}
# What is said of descriptions, which peers do not read.
_OF_VIEWS = ("descriptions", "view_texts", "text_pooling")
# Fields of the model that the training configuration has a place of its own for, or the card decides.
_DECIDED_ELSEWHERE = frozenset(
    {"use_text", "text_dim", "num_classes", "label_smoothing", "view_dropout", "model_type"}
)


def open_all(config: EvalConfig) -> list[TrainedRun]:
    """Open the runs of an evaluation and its model folder; errors as of `open_runs` and `open_model`.

    Raises:
        ValueError: runs and model have different labels, or a topic context is asked for where none has one.
    """
    runs = open_runs(config.runs, config.moved, config.topic_contexts)
    if config.model is not None:
        model = open_model(config.model, config.judged_on)
        if any(run.labels != model.labels for run in runs):
            raise ValueError("runs and model have different labels: evaluate those of one corpus together")
        runs += _as_named_beside(runs, model, config.topic_contexts)
    if config.topic_contexts and all(topic_context(run.config) is None for run in runs):
        raise ValueError(
            "only TGCA-PVT has a topic context, and none is evaluated: leave --topic-context out"
        )
    return runs


def _as_named_beside(
    runs: Sequence[TrainedRun], model: TrainedRun, contexts: Sequence[TopicContext]
) -> list[TrainedRun]:
    """Return a model folder once per topic context, by names that no run has."""
    taken = {run.name for run in runs}
    found = []
    for config in in_topic_contexts(model.config, contexts):
        name = system_name(config)
        if name in taken:
            name = f"{name} ({model.folder.name})"
        found.append(replace(model, config=config, name=name))
    return found


def open_model(folder: Path, fields: Mapping[str, Any]) -> TrainedRun:
    """Open a folder that `save_pretrained` wrote as a run to evaluate.

    A converted checkpoint of the released code reads texts as that code does, unless `fields` say otherwise.

    Args:
        folder: with config.json and model.safetensors.
        fields: of the training configuration: card, data, descriptions, text_encoder, …

    Raises:
        FileNotFoundError: folder, data or descriptions do not exist.
        ValueError: the folder holds no model, or the corpus or texts that it needs are not given.
    """
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} is no model folder: it has no {name} (see `mghft convert`)")
    saved = read_json(folder / "config.json")
    if "runs" in saved or "config" in saved:
        raise ValueError(f"{folder} is a run folder of 'mghft train': give it without --model")
    if saved.get("model_type") == PEER_TYPE:
        return _open_peer(folder, saved, fields)
    try:
        model = MGHFTConfig(**{key: value for key, value in saved.items() if key != "model_type"})
    except ValidationError as error:
        raise ValueError(first_fault(error, f"the model configuration {folder}", MGHFTConfig)) from None
    needed = ("card", "data", *(("descriptions", "text_encoder") if model.use_text else ()))
    _check_given(fields, needed)
    texts = RELEASED_TEXTS if model.last_stage_text_token == "previous" else {}
    shape = {key: value for key, value in saved.items() if key not in _DECIDED_ELSEWHERE}
    # A wish without text would be refused as a contradiction.
    given = dict(fields) if model.use_text else {k: v for k, v in fields.items() if k in ("card", "data")}
    config = load_config(
        overrides={
            "out": folder,
            "use_text": model.use_text,
            "model": shape,
            "label_smoothing": model.label_smoothing,
            **(texts if model.use_text else {}),
            **given,
        }
    )
    check_sources(config.sources, use_text=config.use_text)
    labels = _labels_for(folder, config.card, model.num_classes)
    name = WITH_TEXT if model.use_text else WITHOUT_TEXT
    return TrainedRun(folder, name, config, labels, weights=folder)


def _open_peer(folder: Path, saved: Mapping[str, Any], fields: Mapping[str, Any]) -> TrainedRun:
    """Open the folder of LORA, TGCA-PVT or another peer, which reads no descriptions."""
    try:
        model = PeerConfig(**{key: value for key, value in saved.items() if key != "model_type"})
    except ValidationError as error:
        raise ValueError(first_fault(error, f"the model configuration {folder}", PeerConfig)) from None
    if of_views := [name for name in _OF_VIEWS if fields.get(name) is not None]:
        option = f"--{of_views[0].replace('_', '-')}"
        raise ValueError(f"{model.title} reads no descriptions: leave {option} out")
    needed = ("card", "data", *(("text_encoder",) if model.use_text else ()))
    _check_given(fields, needed)
    shape = {key: value for key, value in saved.items() if key not in _DECIDED_ELSEWHERE | {"network"}}
    config = load_config(
        overrides={
            "out": folder,
            "network": model.network,
            "model": shape,
            "label_smoothing": model.label_smoothing,
            **fields,
        }
    )
    check_sources(config.sources, use_text=False)
    labels = _labels_for(folder, config.card, model.num_classes)
    return TrainedRun(folder, system_name(config), config, labels, weights=folder)


def _check_given(fields: Mapping[str, Any], needed: Sequence[str]) -> None:
    if lacking := [name for name in needed if fields.get(name) is None]:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in lacking)
        raise ValueError(f"a model folder does not say what it is judged on: give {options} too")


def _labels_for(folder: Path, card: str, count: int) -> tuple[str, ...]:
    """Return the labels of a card, of which a model tells as many apart."""
    labels = load_card(card).labels
    if len(labels) != count:
        raise ValueError(
            f"the model {folder} has {count} classes, the card {card} has {len(labels)}: "
            "name the card of the corpus that it was trained on"
        )
    return labels
