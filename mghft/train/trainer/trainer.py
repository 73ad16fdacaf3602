"""A training from its configuration to the finished run folder; the loop itself is in `loop`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from tqdm import tqdm

from mghft.model import MGHFT
from mghft.model.joint import Trained, TunedMGHFT, network, new_network
from mghft.pipeline.corpora.adapters.listing import write_left_out
from mghft.pipeline.corpora.sticker import Corpus
from mghft.pipeline.runs.pictures import WAY_OUT
from mghft.pipeline.runs.split_difference import split_difference
from mghft.pipeline.waiting import is_quiet, now_doing
from mghft.train.config import TrainConfig
from mghft.train.data.described_images import changed_images
from mghft.train.data.descriptions import corrections_record, data_fingerprint
from mghft.train.data.splits import (
    LabelledSplit,
    Split,
    TrainingData,
    complete_splits,
    open_corpus,
    open_own_text,
    read_splits,
    resolve_model,
    views_of,
)
from mghft.train.data.text_features import load_encoder, text_statistics
from mghft.train.data.usable_images import check_left_out
from mghft.train.distributed.accelerator import build_accelerator
from mghft.train.distributed.collectives import broadcast_from_main, processes_watched
from mghft.train.evaluation.predict import to_predict
from mghft.train.eye.weights import load_first_weights
from mghft.train.options import READS_OWN_TEXT
from mghft.train.runs.folder import RunFolder
from mghft.train.runs.inference import inference_config
from mghft.train.runs.tracking import check_tracker
from mghft.train.trainer.loop import Trainer
from mghft.train.trainer.overfit import overfit_corpus
from mghft.train.trainer.warm_start import load_initial

# Stickers of the run folder's splits whose image cannot be decoded, with the reason.
LEFT_OUT = "left_out.csv"


def train(config: TrainConfig) -> Path:
    """Train and return the run folder; a finished run is left as it is.

    Raises:
        ValueError, FileNotFoundError: something the user gave is wrong; one sentence.
        FloatingPointError: the loss is not finite any more; one sentence.
        ProcessLostError: another process of the run is gone; one sentence.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, once a checkpoint is written.
    """
    with open_trainer(config.for_overfit_check()) as trainer:
        if trainer is not None:
            trainer.fit()
    return config.out


@contextlib.contextmanager
def open_trainer(config: TrainConfig) -> Iterator[Trainer | None]:
    """Yield a trainer that holds its run folder and hears signals; None where the run is finished already."""
    check_tracker(config.tracker)
    now_doing("reading the corpus and its descriptions")
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    corpus = open_corpus(config.sources)
    if config.overfit is not None:
        corpus = overfit_corpus(corpus, config.overfit, config.seed)
    splits = read_splits(corpus, ("train", "validation"), config.text, views_of(config.model))
    accelerator = build_accelerator(config.mixed_precision)
    run = RunFolder(config.out)
    identity = {
        **config.identity(),
        "processes": accelerator.num_processes,
        "data_fingerprint": data_fingerprint(
            [sticker for split in splits.values() for sticker in split.stickers],
            corpus.card.labels,
            [split.descriptions for split in splits.values() if split.descriptions is not None],
            own_text=config.network in READS_OWN_TEXT,
        ),
    }
    if run.check(identity, resume=config.resume, allow=config.allow_changes):
        yield None
        return
    accelerator.wait_for_everyone()
    with processes_watched(accelerator), contextlib.ExitStack() as held:
        if accelerator.is_main_process:
            held.enter_context(run.held())
        trainer = _build_trainer(config, accelerator, run, corpus, splits)
        left_out = [*trainer.data.train.left_out, *trainer.data.validation.left_out]
        if trainer.latest is not None:
            check_left_out(run.path / LEFT_OUT, left_out)
        if accelerator.is_main_process:
            if left_out:
                write_left_out(run.path / LEFT_OUT, left_out)
            run.begin(
                identity=identity,
                config=config.model_dump(mode="json"),
                model=trainer.model_config.model_dump(mode="json"),
                labels=corpus.card.labels,
                corrections=corrections_record(config.corrections),
            )
        accelerator.wait_for_everyone()
        with trainer.stop.on_signals():
            yield trainer


def _build_trainer(
    config: TrainConfig,
    accelerator: Accelerator,
    run: RunFolder,
    corpus: Corpus,
    splits: Mapping[str, LabelledSplit],
) -> Trainer:
    """Open the data, build the model and give it its first weights, or find the checkpoint to go on from."""
    shown = config.progress and accelerator.is_main_process and not is_quiet()
    say: Callable[[str], object] = tqdm.write if shown else lambda text: None
    text, labels = config.text, corpus.card.labels
    encoder = None
    if text is not None:
        encoder = load_encoder(text.text_encoder, text.text_pooling, accelerator.device)
    own_text = open_own_text(config.model_options, accelerator.device)
    read = encoder if own_text is None else own_text.encoder
    model_config = resolve_model(
        config.model_options, labels=labels, text_dim=None if read is None else read.width
    )
    frozen, tuned = (None, encoder) if config.tune_text_encoder else (encoder, None)
    with accelerator.main_process_first():
        opened = complete_splits(
            splits,
            corpus,
            config.sources,
            config.cache,
            image_size=model_config.image_size,
            encoder=frozen,
            own_text=own_text,
            strict=config.strict,
        )
    if text is not None and config.images == "files":
        if (changed := changed_images(opened, text.descriptions)) is not None:
            if not config.allow_changed_images:
                raise ValueError(f"{changed}: {WAY_OUT}")
            say(f"note: {changed}")
        if (difference := split_difference(text.descriptions, corpus)) is not None:
            say(f"note: {difference}: those of the corpus are taken")
    now_doing("training")
    data = TrainingData(corpus.card, opened["train"], opened["validation"])
    latest = broadcast_from_main(accelerator, lambda: run.resume_from(say))
    torch.manual_seed(config.seed)
    plain = new_network(model_config)
    model: Trained = plain
    if tuned is not None:
        assert isinstance(plain, MGHFT), "no peer trains its encoder along"
        model = TunedMGHFT(plain, tuned, frozen=config.text_lr_scale == 0)
    if latest is None:
        if text is not None and text.standardize_text:
            _standardize_text(model, data.train)
        if config.init_from is not None:
            text_encoder = None if text is None else text.text_encoder
            say(load_initial(plain, config.init_from, labels, text_encoder))
        elif config.pvt_weights is not None:
            load_first_weights(plain, config.pvt_weights)
    inference = inference_config(
        config,
        labels=labels,
        image_size=model_config.image_size,
        views=views_of(config.model),
        corpus=corpus.card.title,
        fingerprint=None if read is None or tuned is not None else read.fingerprint(),
        text_length=None if own_text is None else own_text.encoder.length,
    )
    trainer = Trainer(config, accelerator, run, data, model, latest=latest, say=say, inference=inference)
    if trainer.weights.sharded:
        count = accelerator.num_processes
        say(f"weights, gradients and optimizer lie in shards over {count} processes (FSDP)")
    for note in data.notes():
        say(note)
    return trainer


def _standardize_text(model: Trained, split: Split) -> None:
    """Centre and scale text features inside the model by the statistics of the training split."""
    features = to_predict(model, split)[1].features
    assert features is not None
    standardized = network(model)
    assert isinstance(standardized, MGHFT)
    standardized.set_text_statistics(*text_statistics(features, split.mask))
