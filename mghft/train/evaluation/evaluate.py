"""Evaluation of trained runs: metrics of every split and subset beside the baselines, and the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.predictions import FILE_NAME, write_predictions
from mghft.pipeline.text import first_and_more, plural
from mghft.pipeline.waiting import now_doing
from mghft.train.config import TrainConfig
from mghft.train.data.descriptions import corrections_record
from mghft.train.data.splits import Split, views_of
from mghft.train.data.text_features import FeatureCache, load_encoder
from mghft.train.distributed.accelerator import build_accelerator
from mghft.train.evaluation.annotators import annotator_kappa
from mghft.train.evaluation.baselines import (
    majority_baseline,
    mean_of_probabilities,
    regression_baseline,
    side_by_side,
)
from mghft.train.evaluation.calibration import fit_temperature
from mghft.train.evaluation.opened_run import open_run
from mghft.train.evaluation.predict import visual_vectors
from mghft.train.evaluation.prediction_table import prediction_tables
from mghft.train.evaluation.report import write_report
from mghft.train.evaluation.results import Evaluation, RunSummary
from mghft.train.evaluation.saved_models import open_all
from mghft.train.evaluation.split_metrics import Probabilities, accuracy_gains, evaluate_split
from mghft.train.evaluation.topics import evaluate_topics
from mghft.train.evaluation.trained_runs import EvalConfig, TrainedRun, topic_notes
from mghft.train.runs.files import read_json, read_metrics

MAJORITY, TEXT_ONLY = "majority", "text only"
# Of text and the network without text: what a fusion inside the network has to beat.
LATE_MEAN, LATE_REGRESSION = "late fusion, mean", "late fusion, regression"


def evaluate(config: EvalConfig) -> Evaluation:
    """Evaluate the best weights of one or more runs, or a model folder beside them, and write the report.

    Returns:
        The content of report.json.

    Raises:
        FileNotFoundError, ValueError: something the user gave is wrong; one sentence.
    """
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    now_doing("evaluating")
    runs = open_all(config)
    # A run with text comes first: its descriptions are shown, its text features make the text-only baseline.
    main = next((run for run in runs if run.config.use_text), runs[0])
    splits, judged = _judge_runs(runs, main, config)
    truth = {name: split.labels for name, split in splits.items()}
    evaluated = {name: splits[name] for name in config.splits}
    classes = len(main.labels)
    systems: dict[str, dict[str, Probabilities]] = {
        MAJORITY: {
            name: majority_baseline(truth["train"], classes, len(truth[name])) for name in config.splits
        }
    }
    strength = None
    by_text = [run for run in runs if run.config.use_text]
    by_image = [run for run in runs if not run.config.use_text]
    systems |= {run.name: judged[run.name].probabilities for run in by_image}
    if main.config.use_text:
        texts = _text_vectors(main.config, splits)
        text_only = regression_baseline(texts, truth, classes)
        strength, text_systems = text_only.strength, {TEXT_ONLY: text_only.probabilities}
        systems = {MAJORITY: systems.pop(MAJORITY), **text_systems, **systems}
        # Late fusion is of the text and MGHFT's own network without it.
        plain = next((run for run in by_image if run.config.network == "mghft"), None)
        if plain is not None:
            image = judged[plain.name]
            systems[LATE_MEAN] = mean_of_probabilities(text_only.probabilities, image.probabilities)
            if image.vectors:
                both = regression_baseline(side_by_side(texts, image.vectors), truth, classes)
                systems[LATE_REGRESSION] = both.probabilities
    systems |= {run.name: judged[run.name].probabilities for run in by_text}
    by_split = {
        name: {system: probabilities[name] for system, probabilities in systems.items()}
        for name in config.splits
    }
    bootstrap = {"seed": config.seed, "rounds": config.bootstrap_rounds}
    temperatures = {
        system: fit_temperature(probabilities, truth["validation"])
        for system, probabilities in by_split.get("validation", {}).items()
    }
    topics = {name: evaluate_topics(split, by_split[name], **bootstrap) for name, split in evaluated.items()}
    evaluation = Evaluation(
        corpus=load_card(main.config.card).title,
        labels=list(main.labels),
        main=main.name,
        systems=list(systems),
        runs={run.name: _summary(run) for run in runs if run.was_trained},
        text_only_strength=strength,
        splits={
            name: evaluate_split(split, by_split[name], main.labels, **bootstrap, temperatures=temperatures)
            for name, split in evaluated.items()
        },
        differences={
            name: accuracy_gains(split, by_split[name], main.name, **bootstrap)
            for name, split in evaluated.items()
        },
        annotators={
            name: found
            for name, split in evaluated.items()
            if (found := annotator_kappa(split.stickers, _choices(by_split[name]))) is not None
        },
        topics={name: summaries for name, (summaries, _) in topics.items() if summaries},
        notes=[
            *topic_notes(runs, config.batch_size),
            *_unfinished(runs),
            *_other_corrections(runs),
            *_left_out(evaluated),
        ],
    )
    config.out.mkdir(parents=True, exist_ok=True)
    # Baselines and late fusion come from the main run's texts and features: they go with its seed.
    seeds = dict.fromkeys(systems, main.config.seed) | {run.name: run.config.seed for run in runs}
    table = prediction_tables(evaluated, systems, main.labels, seeds=seeds)
    write_predictions(config.out / FILE_NAME, table)
    write_report(
        config.out,
        evaluation,
        split=evaluated[config.splits[-1]],
        probabilities=systems[main.name][config.splits[-1]],
        topics={name: rows for name, (_, rows) in topics.items() if rows},
        views=views_of(main.config.model) if main.config.use_text else (),
        histories={run.name: read_metrics(run.folder) for run in runs if run.was_trained},
        count=config.stickers_shown,
        seed=config.seed,
    )
    return evaluation


def _choices(systems: Mapping[str, Probabilities]) -> dict[str, NDArray[np.int64]]:
    return {name: probabilities.argmax(1) for name, probabilities in systems.items()}


class _Judged(NamedTuple):
    """A run's probabilities by split and, where late fusion needs them, its vectors of the images."""

    probabilities: dict[str, Probabilities]
    vectors: dict[str, NDArray[np.float32]]


def _judge_runs(
    runs: Sequence[TrainedRun], main: TrainedRun, config: EvalConfig
) -> tuple[dict[str, Split], dict[str, _Judged]]:
    """Return splits of the main run, train and validation among them, and every run's figures by name."""
    everything = {"train", "validation", *config.splits}
    splits, judged = _judge_run(main, everything, config, vectors=False)
    found = {main.name: judged}
    # Late fusion is of the text and MGHFT without: the first.
    plain = (run for run in runs if run.config.network == "mghft" and not run.config.use_text)
    seen = next(plain, None) if main.config.use_text else None
    for run in runs:
        if run is not main:
            vectors = config.late_fusion and run is seen
            needed = everything if vectors else set(config.splits)
            others, found[run.name] = _judge_run(run, needed, config, vectors=vectors)
            if any(others[name].stickers != splits[name].stickers for name in needed):
                raise ValueError(f"the runs {main.folder} and {run.folder} belong to different corpora")
    return splits, found


def _judge_run(
    run: TrainedRun, needed: set[str], evaluation: EvalConfig, *, vectors: bool
) -> tuple[dict[str, Split], _Judged]:
    """Return the needed splits as a run reads them, and its figures of those that are evaluated."""
    opened, batch_size = open_run(run, needed), evaluation.batch_size
    splits = opened.splits
    probabilities = {name: opened.predict(splits[name], batch_size=batch_size) for name in evaluation.splits}
    seen = {
        name: opened.predict(splits[name], batch_size=batch_size, read=visual_vectors).astype(np.float32)
        for name in (splits if vectors else ())
    }
    return splits, _Judged(probabilities, seen)


def _text_vectors(config: TrainConfig, splits: Mapping[str, Split]) -> dict[str, NDArray[np.float32]]:
    """Return per split [n, V * width] features of the encoder as it was: a tuned one has seen the labels."""
    untuned = None
    if config.tune_text_encoder:
        device = build_accelerator(config.mixed_precision).device
        encoder = load_encoder(config.text_encoder, config.text_pooling, device)
        untuned = FeatureCache(
            encoder, pooling=config.text_pooling, folder=config.cache.folder, progress=config.progress
        )
    found = {}
    for name, split in splits.items():
        vectors, mask = split.features, split.mask
        if untuned is not None:
            assert split.descriptions is not None
            vectors = untuned.features(split.descriptions.texts)
        assert vectors is not None and mask is not None
        found[name] = (vectors * mask.unsqueeze(-1)).flatten(1).numpy()
    return found


def _unfinished(runs: Sequence[TrainedRun]) -> Iterator[str]:
    """Yield a sentence for every run whose training has not come to its end."""
    for run in runs:
        # An overfit check ends as soon as it has learnt its stickers.
        if run.was_trained and run.config.overfit is None:
            done, planned = len(read_metrics(run.folder)), run.config.epochs
            if done < planned:
                yield (
                    f"{run.name} is not finished: {done} of {planned} epochs are done, and its best weights "
                    "so far are judged; `mghft train --resume` goes on"
                )


def _other_corrections(runs: Sequence[TrainedRun]) -> Iterator[str]:
    """Yield a sentence for every run that is judged with other corrections than it was trained with."""
    for run in runs:
        if not run.was_trained or not run.config.use_text:
            continue
        trained = read_json(run.folder / "config.json").get("corrections")
        judged = corrections_record(run.config.corrections)
        before, now = (None if one is None else one["sha256"] for one in (trained, judged))
        if before != now:
            yield (
                f"{run.name} was trained {_with_corrections(trained)} and is judged "
                f"{_with_corrections(judged)}"
            )


def _with_corrections(record: Mapping[str, Any] | None) -> str:
    if record is None:
        return "without corrections"
    return f"with the corrections {record['path']} ({record['sha256'][:12]}, {record['texts']} texts)"


def _left_out(splits: Mapping[str, Split]) -> Iterator[str]:
    """Yield a sentence for every split of which images cannot be decoded."""
    for name, split in splits.items():
        if split.left_out:
            named = first_and_more(sticker for sticker, _ in split.left_out)
            count = plural(split.left_out, "image")
            yield f"left out of {name} because they cannot be decoded: {count} ({named})"


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
