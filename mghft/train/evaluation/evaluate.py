"""Judges trained runs: every split and part, against a majority guess and the text alone, with intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from mghft.model import MGHFT
from mghft.model.joint import ENCODER_FOLDER
from mghft.pipeline.corpora.card import load_card
from mghft.train.config import TrainConfig
from mghft.train.data.sampler import eval_transform
from mghft.train.data.splits import (
    Split,
    cache_folder,
    load_encoder,
    load_split,
    open_corpus,
    resolve_model,
    views_of,
)
from mghft.train.data.text_features import text_features
from mghft.train.distributed.accelerator import build_accelerator
from mghft.train.evaluation.baselines import majority_baseline, text_only_baseline
from mghft.train.evaluation.metrics import bootstrap_interval, classification_metrics
from mghft.train.evaluation.predict import predict
from mghft.train.evaluation.report import write_report
from mghft.train.evaluation.trained_runs import EvalConfig, Run, open_runs
from mghft.train.runs.files import read_metrics

MAJORITY, TEXT_ALONE = "majority guess", "text alone"


def evaluate(config: EvalConfig) -> dict[str, Any]:
    """Evaluates the best weights of one or more runs and writes the report folder.

    Returns:
        What report.json holds.

    Raises:
        ValueError, FileNotFoundError: something the user gave is wrong; one sentence.
    """
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    runs = open_runs(config)
    labels = runs[0].labels
    systems: dict[str, dict[str, NDArray[np.float64]]] = {MAJORITY: {}}
    facts: dict[str, Any] = {"text_alone_strength": None}
    # A run with text comes first: its descriptions are shown, and its text features are judged alone.
    main = next((run for run in runs if run.config.use_text), runs[0])
    shown: dict[str, Split] = {}
    for run in [main, *(run for run in runs if run is not main)]:
        needed = {"train", "validation", *config.splits} if run is main else set(config.splits)
        found, systems[run.name] = _predict_run(run, sorted(needed), config)
        if run is main:
            shown = found
        elif any(found[name].stickers != shown[name].stickers for name in config.splits):
            raise ValueError(f"the runs {main.folder} and {run.folder} belong to different corpora")
    truth = {name: split.labels for name, split in shown.items()}
    for name in config.splits:
        systems[MAJORITY][name] = majority_baseline(truth["train"], len(labels), len(truth[name]))
    if main.config.use_text:
        features = {name: _flat_features(split) for name, split in _untuned(main.config, shown).items()}
        alone = text_only_baseline(features, truth, len(labels))
        systems[TEXT_ALONE] = alone.probabilities
        facts["text_alone_strength"] = alone.strength
    trained = [run.name for run in sorted(runs, key=lambda run: run.config.use_text)]
    order = [name for name in (MAJORITY, TEXT_ALONE) if name in systems] + trained
    systems = {name: systems[name] for name in order}
    result = {
        "corpus": load_card(main.config.card).title,
        "labels": list(labels),
        "main": main.name,
        "systems": order,
        "runs": {run.name: _run_facts(run) for run in runs},
        **facts,
        "splits": {name: _judge(shown[name], systems, name, labels, config) for name in config.splits},
        "differences": {
            name: _differences(shown[name], systems, name, main.name, config) for name in config.splits
        },
    }
    config.out.mkdir(parents=True, exist_ok=True)
    table = prediction_table({name: shown[name] for name in config.splits}, systems, labels)
    pq.write_table(table, config.out / "predictions.parquet")
    write_report(
        config.out,
        result,
        split=shown[config.splits[-1]],
        probabilities=systems[main.name][config.splits[-1]],
        views=resolve_views(main.config),
        histories={run.name: read_metrics(run.folder) for run in runs},
        count=config.stickers_shown,
        seed=config.seed,
    )
    return result


def resolve_views(config: TrainConfig) -> tuple[str, ...]:
    """Views shown in the report: none for a run without text."""
    return views_of(config) if config.use_text else ()


def prediction_table(
    splits: dict[str, Split], systems: dict[str, dict[str, NDArray[np.float64]]], labels: Sequence[str]
) -> pa.Table:
    """One row per sticker and system, with the label, the prediction and a column p_LABEL per label."""
    rows: list[dict[str, Any]] = []
    for name, split in splits.items():
        for system, found in systems.items():
            for sticker, row in zip(split.stickers, found[name], strict=True):
                best = int(row.argmax())
                rows.append(
                    {
                        "sticker_id": sticker.id,
                        "split": name,
                        "part": sticker.subset,
                        "system": system,
                        "true": sticker.label_name,
                        "predicted": labels[best],
                        "confidence": float(row[best]),
                        **{f"p_{label}": float(p) for label, p in zip(labels, row, strict=True)},
                    }
                )
    return pa.Table.from_pylist(rows)


def _predict_run(
    run: Run, splits: Sequence[str], config: EvalConfig
) -> tuple[dict[str, Split], dict[str, NDArray[np.float64]]]:
    corpus = open_corpus(run.config)
    if corpus.card.labels != run.labels:
        raise ValueError(f"the labels of the card {run.config.card} changed since {run.folder} was trained")
    tuned = run.folder / "best" / ENCODER_FOLDER if run.config.tune_text_encoder else None
    accelerator = build_accelerator(run.config.mixed_precision)
    encoder = load_encoder(run.config, accelerator.device, tuned)
    model = MGHFT.from_pretrained(run.folder / "best")
    wanted = resolve_model(run.config, labels=run.labels, text_dim=None if encoder is None else encoder.width)
    if model.config != wanted:
        raise ValueError(f"the weights in {run.folder / 'best'} are not of the model in its config.json")
    model.to(accelerator.device)
    transform = eval_transform(model.config.image_size, run.config.augmentation)
    found, probabilities = {}, {}
    for name in splits:
        found[name] = load_split(run.config, corpus, name, model_config=model.config, encoder=encoder)
        if name in config.splits:
            probabilities[name] = predict(
                model,
                found[name],
                transform,
                accelerator=accelerator,
                batch_size=config.batch_size,
                workers=run.config.workers,
                progress=run.config.progress,
            )
    return found, probabilities


def _untuned(config: TrainConfig, splits: dict[str, Split]) -> dict[str, Split]:
    """The splits with features of the encoder as it was: a tuned one has seen the labels."""
    if not config.tune_text_encoder:
        return splits
    encoder = load_encoder(config, build_accelerator(config.mixed_precision).device)
    assert encoder is not None
    found = {}
    for name, split in splits.items():
        assert split.descriptions is not None
        features, _ = text_features(
            encoder,
            split.descriptions.texts,
            pooling=config.text_pooling,
            folder=cache_folder(config),
            progress=config.progress,
        )
        found[name] = dataclasses.replace(split, features=features)
    return found


def _flat_features(split: Split) -> NDArray[np.float32]:
    assert split.features is not None and split.mask is not None
    flat: NDArray[np.float32] = (split.features * split.mask.unsqueeze(-1)).flatten(1).numpy()
    return flat


def _part_rows(split: Split) -> dict[str, NDArray[np.bool_]]:
    """Rows of the whole split and of every part of it."""
    parts = np.array([sticker.subset or "" for sticker in split.stickers])
    names = sorted(set(parts.tolist()) - {""})
    return {"all": np.ones(len(parts), dtype=np.bool_), **{name: parts == name for name in names}}


def _judge(
    split: Split,
    systems: dict[str, dict[str, NDArray[np.float64]]],
    name: str,
    labels: Sequence[str],
    config: EvalConfig,
) -> dict[str, Any]:
    judged: dict[str, Any] = {}
    for part, rows in _part_rows(split).items():
        judged[part] = {}
        for system, found in systems.items():
            predicted = found[name].argmax(1)
            figures = classification_metrics(split.labels[rows], predicted[rows], labels)
            right = (predicted == split.labels)[rows].astype(np.float64)
            figures["accuracy_interval"] = bootstrap_interval(
                right, seed=config.seed, rounds=config.bootstrap_rounds
            )
            judged[part][system] = figures
    return judged


def _differences(
    split: Split,
    systems: dict[str, dict[str, NDArray[np.float64]]],
    name: str,
    main: str,
    config: EvalConfig,
) -> dict[str, dict[str, Any]]:
    """Accuracy of the main system minus that of each other, paired by sticker, with its interval."""
    found: dict[str, dict[str, Any]] = {}
    right = {system: (rows[name].argmax(1) == split.labels).astype(float) for system, rows in systems.items()}
    for part, rows in _part_rows(split).items():
        found[part] = {}
        for other in systems:
            if other != main:
                gain = (right[main] - right[other])[rows]
                interval = bootstrap_interval(gain, seed=config.seed, rounds=config.bootstrap_rounds)
                found[part][other] = {"accuracy_gain": float(gain.mean()), "interval": interval}
    return found


def _run_facts(run: Run) -> dict[str, Any]:
    lines = read_metrics(run.folder)
    best = next((line for line in reversed(lines) if line["best"]), None)
    return {
        "use_text": run.config.use_text,
        "recipe": run.config.recipe,
        "epochs": run.config.epochs,
        "epochs_done": len(lines),
        "best_epoch": None if best is None else best["epoch"],
        "best_validation_accuracy": None if best is None else best["validation_accuracy"],
        "training_seconds": sum(line["seconds"] + line["seconds_validation"] for line in lines),
    }
