"""Evaluation of trained runs: metrics of every split and subset beside the baselines, and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mghft.model import MGHFT
from mghft.model.joint import ENCODER_FOLDER
from mghft.pipeline.corpora.card import load_card
from mghft.train.config import TrainConfig
from mghft.train.data.sampler import eval_transform
from mghft.train.data.splits import Split, load_splits, open_corpus, resolve_model, views_of
from mghft.train.data.text_features import FeatureCache, load_encoder
from mghft.train.distributed.accelerator import build_accelerator
from mghft.train.evaluation.baselines import TextOnlyBaseline, majority_baseline, text_only_baseline
from mghft.train.evaluation.bootstrap import bootstrap_interval
from mghft.train.evaluation.metrics import classification_metrics
from mghft.train.evaluation.predict import predict
from mghft.train.evaluation.prediction_table import prediction_table, write_predictions
from mghft.train.evaluation.report import write_report
from mghft.train.evaluation.results import WHOLE, AccuracyGain, Evaluation, RunSummary, SystemMetrics
from mghft.train.evaluation.saved_models import open_all
from mghft.train.evaluation.trained_runs import EvalConfig, TrainedRun
from mghft.train.runs.files import read_metrics

MAJORITY, TEXT_ONLY = "majority", "text only"

# [n, classes] in the order of a split.
Probabilities = NDArray[np.float64]


def evaluate(config: EvalConfig) -> Evaluation:
    """Evaluate the best weights of one or more runs, or a model folder beside them, and write the report.

    Returns:
        The content of report.json.

    Raises:
        FileNotFoundError, ValueError: something the user gave is wrong; one sentence.
    """
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    runs = open_all(config)
    # A run with text comes first: its descriptions are shown, its text features make the text-only baseline.
    main = next((run for run in runs if run.config.use_text), runs[0])
    splits, trained = _predict_runs(runs, main, config.splits, config.batch_size)
    truth = {name: split.labels for name, split in splits.items()}
    evaluated = {name: splits[name] for name in config.splits}
    classes = len(main.labels)
    systems: dict[str, dict[str, Probabilities]] = {
        MAJORITY: {
            name: majority_baseline(truth["train"], classes, len(truth[name])) for name in config.splits
        }
    }
    text_only = _text_only(main.config, splits, truth, classes) if main.config.use_text else None
    if text_only is not None:
        systems[TEXT_ONLY] = text_only.probabilities
    for run in sorted(runs, key=lambda run: run.config.use_text):
        systems[run.name] = trained[run.name]
    by_split = {
        name: {system: probabilities[name] for system, probabilities in systems.items()}
        for name in config.splits
    }
    bootstrap = {"seed": config.seed, "rounds": config.bootstrap_rounds}
    evaluation = Evaluation(
        corpus=load_card(main.config.card).title,
        labels=list(main.labels),
        main=main.name,
        systems=list(systems),
        runs={run.name: _summary(run) for run in runs if run.was_trained},
        text_only_strength=None if text_only is None else text_only.strength,
        splits={
            name: evaluate_split(split, by_split[name], main.labels, **bootstrap)
            for name, split in evaluated.items()
        },
        differences={
            name: accuracy_gains(split, by_split[name], main.name, **bootstrap)
            for name, split in evaluated.items()
        },
    )
    config.out.mkdir(parents=True, exist_ok=True)
    write_predictions(config.out / "predictions.parquet", prediction_table(evaluated, systems, main.labels))
    write_report(
        config.out,
        evaluation,
        split=evaluated[config.splits[-1]],
        probabilities=systems[main.name][config.splits[-1]],
        views=views_of(main.config.model) if main.config.use_text else (),
        histories={run.name: read_metrics(run.folder) for run in runs if run.was_trained},
        count=config.stickers_shown,
        seed=config.seed,
    )
    return evaluation


def evaluate_split(
    split: Split, systems: Mapping[str, Probabilities], labels: Sequence[str], *, seed: int, rounds: int
) -> dict[str, dict[str, SystemMetrics]]:
    """Compute the metrics of every system on the whole split ("all") and on each subset of it.

    Args:
        split: whose labels are the truth.
        systems: [n, classes] probabilities by system.
        labels: names in index order.
        seed, rounds: of the bootstrap.

    Returns:
        By subset and system.
    """
    found: dict[str, dict[str, SystemMetrics]] = {}
    for subset, rows in subset_rows(split).items():
        found[subset] = {}
        for system, probabilities in systems.items():
            true, predicted = split.labels[rows], probabilities.argmax(1)[rows]
            metrics = classification_metrics(true, predicted, labels)
            interval = bootstrap_interval((predicted == true).astype(float), seed=seed, rounds=rounds)
            found[subset][system] = SystemMetrics(**vars(metrics), accuracy_interval=interval)
    return found


def accuracy_gains(
    split: Split, systems: Mapping[str, Probabilities], main: str, *, seed: int, rounds: int
) -> dict[str, dict[str, AccuracyGain]]:
    """Compare the main system with each other on the whole split ("all") and on each subset of it.

    Args:
        split: whose labels are the truth.
        systems: [n, classes] probabilities by system.
        main: the system to compare with all others.
        seed, rounds: of the bootstrap.

    Returns:
        By subset and other system.
    """
    right = {system: (rows.argmax(1) == split.labels).astype(float) for system, rows in systems.items()}
    found: dict[str, dict[str, AccuracyGain]] = {}
    for subset, rows in subset_rows(split).items():
        found[subset] = {}
        for other in systems:
            if other != main:
                gain = (right[main] - right[other])[rows]
                interval = bootstrap_interval(gain, seed=seed, rounds=rounds)
                found[subset][other] = AccuracyGain(float(gain.mean()), interval)
    return found


def subset_rows(split: Split) -> dict[str, NDArray[np.bool_]]:
    """Return which rows, [n] bool, are the whole split, every subset of it, and labels of every source."""
    found = {WHOLE: np.ones(len(split.stickers), dtype=np.bool_)}
    sources = [
        f"labels: {sticker.label_source}" if sticker.label_source else "" for sticker in split.stickers
    ]
    for names in ([sticker.subset or "" for sticker in split.stickers], sources):
        values = np.array(names)
        found |= {name: values == name for name in sorted(set(names) - {""})}
    return found


def _predict_runs(
    runs: Sequence[TrainedRun], main: TrainedRun, names: Sequence[str], batch_size: int
) -> tuple[dict[str, Split], dict[str, dict[str, Probabilities]]]:
    """Return splits of the main run, train and validation among them, and probabilities by run and split."""
    splits, found = _predict_run(main, {"train", "validation", *names}, names, batch_size)
    probabilities = {main.name: found}
    for run in runs:
        if run is not main:
            others, probabilities[run.name] = _predict_run(run, set(names), names, batch_size)
            if any(others[name].stickers != splits[name].stickers for name in names):
                raise ValueError(f"the runs {main.folder} and {run.folder} belong to different corpora")
    return splits, probabilities


def _predict_run(
    run: TrainedRun, needed: set[str], predicted: Sequence[str], batch_size: int
) -> tuple[dict[str, Split], dict[str, Probabilities]]:
    """Return the needed splits as a run reads them, and probabilities for the stickers of some."""
    config, best = run.config, run.weights
    corpus = open_corpus(config.sources)
    if corpus.card.labels != run.labels:
        raise ValueError(f"the labels of the card {config.card} changed since {run.folder} was trained")
    accelerator = build_accelerator(config.mixed_precision)
    encoder = None
    if (text := config.text) is not None:
        source = best / ENCODER_FOLDER if text.tune_text_encoder else text.text_encoder
        encoder = load_encoder(source, text.text_pooling, accelerator.device)
    model = MGHFT.from_pretrained(best)
    wanted = resolve_model(
        config.network, labels=run.labels, text_dim=None if encoder is None else encoder.width
    )
    if model.config != wanted:
        raise ValueError(f"the weights in {best} are not of the model in its config.json")
    model.to(accelerator.device)
    transform = eval_transform(model.config.image_size, config.augmentation)
    splits = load_splits(
        corpus,
        sorted(needed),
        config.sources,
        config.cache,
        text=text,
        views=model.config.views,
        image_size=model.config.image_size,
        encoder=encoder,
    )
    probabilities = {
        name: predict(
            model,
            splits[name],
            transform,
            accelerator=accelerator,
            batch_size=batch_size,
            workers=config.workers,
            progress=config.progress,
        )
        for name in predicted
    }
    return splits, probabilities


def _text_only(
    config: TrainConfig,
    splits: Mapping[str, Split],
    labels: Mapping[str, NDArray[np.int64]],
    classes: int,
) -> TextOnlyBaseline:
    """Return the baseline on features of the encoder as it was: a tuned one has seen the labels."""
    untuned = None
    if config.tune_text_encoder:
        device = build_accelerator(config.mixed_precision).device
        encoder = load_encoder(config.text_encoder, config.text_pooling, device)
        untuned = FeatureCache(
            encoder, pooling=config.text_pooling, folder=config.cache.folder, progress=config.progress
        )
    features = {}
    for name, split in splits.items():
        vectors, mask = split.features, split.mask
        if untuned is not None:
            assert split.descriptions is not None
            vectors = untuned.features(split.descriptions.texts)
        assert vectors is not None and mask is not None
        features[name] = (vectors * mask.unsqueeze(-1)).flatten(1).numpy()
    return text_only_baseline(features, labels, classes)


def _summary(run: TrainedRun) -> RunSummary:
    lines = read_metrics(run.folder)
    best = next((line for line in reversed(lines) if line["best"]), None)
    return RunSummary(
        use_text=run.config.use_text,
        recipe=run.config.recipe,
        epochs=run.config.epochs,
        epochs_done=len(lines),
        best_epoch=None if best is None else best["epoch"],
        best_validation_accuracy=None if best is None else best["validation_accuracy"],
        training_seconds=sum(line["seconds"] + line["seconds_validation"] for line in lines),
    )
