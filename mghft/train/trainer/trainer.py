"""The training loop: `train(config)` fills a run folder and can be stopped and resumed at any step.

A step draws from no generator that survives it (order, augmentation and dropout are functions of the seed and
of where the step lies), so weights, optimizer and a few numbers are all there is to restore.
"""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from accelerate.utils import gather_object  # type: ignore[import-untyped]
from torch import Tensor
from tqdm import tqdm

from mghft.model import MGHFT, load_pvt_weights
from mghft.model.joint import Trained, TunedMGHFT, network
from mghft.pipeline.corpora.sticker import Corpus
from mghft.train.config import TrainConfig
from mghft.train.data.descriptions import data_fingerprint
from mghft.train.data.loader import EpochLoader
from mghft.train.data.sampler import (
    AugmentedStickers,
    EpochBatches,
    eval_transform,
    mixed_seed,
    train_transform,
)
from mghft.train.data.splits import Part, complete_split, load_encoder, read_split, resolve_model, text_of
from mghft.train.data.text_features import text_statistics
from mghft.train.distributed.accelerator import build_accelerator
from mghft.train.distributed.collectives import all_reduce_mean, broadcast_from_main, processes_watched
from mghft.train.distributed.fsdp import full_state, prepare
from mghft.train.evaluation.metrics import validation_figures
from mghft.train.evaluation.plots import draw_training
from mghft.train.evaluation.predict import predict, to_predict
from mghft.train.runs import checkpoints
from mghft.train.runs.files import epoch_line, read_metrics
from mghft.train.runs.folder import RunFolder, package_versions
from mghft.train.runs.model_card import training_card
from mghft.train.runs.tracking import check_tracker, log_epoch, log_step, tracked, tracker_options
from mghft.train.trainer.losses import class_counts, class_loss
from mghft.train.trainer.optimizer import build_optimizer, learning_rate
from mghft.train.trainer.overfit import corpus_to_train_on, learnt_by_heart, overfit_config
from mghft.train.trainer.signals import StopRequest
from mghft.train.trainer.state import (
    add_step,
    continued,
    end_epoch,
    epoch_record,
    fresh_state,
    loss_values,
    memory_mb,
    stage_losses,
)
from mghft.train.trainer.warm_start import load_initial


def train(config: TrainConfig) -> Path:
    """Trains and returns the run folder; a finished run is left as it is.

    Raises:
        ValueError, FileNotFoundError: something the user gave is wrong; one sentence.
        FloatingPointError: the loss is not finite any more; one sentence.
        ProcessLostError: another process of the run is gone; one sentence.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, once a checkpoint is written.
    """
    run_trainer(overfit_config(config), Trainer)
    return config.out


def run_trainer(config: TrainConfig, kind: type[Trainer]) -> Trainer | None:
    """Opens data and folder and lets a trainer do its work; None where the run is finished already."""
    check_tracker(config.tracker)
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    corpus = corpus_to_train_on(config)
    parts = {name: read_split(config, corpus, name) for name in ("train", "validation")}
    stickers = [sticker for found, _ in parts.values() for sticker in found]
    accelerator = build_accelerator(
        config.mixed_precision, tracker_options(config.tracker, config.out / "tracker")
    )
    run = RunFolder(config.out)
    identity = {
        **config.identity(),
        "processes": accelerator.num_processes,
        "data_fingerprint": data_fingerprint(
            stickers, corpus.card.labels, [found for _, found in parts.values() if found is not None]
        ),
    }
    if run.check(identity, resume=config.resume, allow=config.allow_changes):
        return None
    accelerator.wait_for_everyone()
    with processes_watched(accelerator), contextlib.ExitStack() as held:
        if accelerator.is_main_process:
            held.enter_context(run.held())
        trainer = kind(config, accelerator, run, identity, corpus, parts)
        with trainer.stop.on_signals():
            trainer.fit()
    return trainer


class Trainer:
    """One run in one process."""

    def __init__(
        self,
        config: TrainConfig,
        accelerator: Accelerator,
        run: RunFolder,
        identity: dict[str, Any],
        corpus: Corpus,
        parts: dict[str, Part],
    ) -> None:
        self.config, self.accelerator, self.run = config, accelerator, run
        self.card, self.labels = corpus.card, corpus.card.labels
        encoder = load_encoder(config, accelerator.device)
        self.model_config = resolve_model(
            config, labels=self.labels, text_dim=None if encoder is None else encoder.width
        )
        with accelerator.main_process_first():
            frozen = None if config.tune_text_encoder else encoder
            self.train_split, self.validation = (
                complete_split(config, corpus, parts[name], model_config=self.model_config, encoder=frozen)
                for name in ("train", "validation")
            )
        torch.manual_seed(config.seed)
        mghft = MGHFT(self.model_config)
        plain: Trained = mghft
        if config.tune_text_encoder and encoder is not None:
            plain = TunedMGHFT(mghft, encoder)
        if config.standardize_text and config.use_text:
            features = to_predict(plain, self.train_split)[1].features
            assert features is not None
            mghft.set_text_statistics(*text_statistics(features, self.train_split.mask))
        self.latest = broadcast_from_main(accelerator, lambda: run.resume_from(self.say))
        if self.latest is None and config.init_from is not None:
            reads = config.text_encoder if config.use_text else None
            self.say(load_initial(mghft, config.init_from, self.labels, reads))
        elif self.latest is None and config.pvt_weights is not None:
            load_pvt_weights(mghft, config.pvt_weights)
        mghft.gather_negatives = config.gather_negatives
        counts = class_counts(self.train_split.labels, len(self.labels))
        mghft.classification_loss = class_loss(
            config.imbalance, counts, label_smoothing=config.label_smoothing
        )
        self.peak = config.learning_rate(accelerator.num_processes)
        optimizer = build_optimizer(plain, config, self.peak)
        self.model, self.optimizer, self.weights = prepare(accelerator, plain, optimizer)
        self.average = None if config.ema_decay is None else self.weights.average()
        self._build_loader()
        self.stages = stage_losses(self.model_config.alignment_stages)
        self.state = fresh_state(self.batches.steps, self.stages)
        self.stop, self.leave = StopRequest(), False
        if accelerator.is_main_process:
            run.begin(identity, config, self.model_config, self.labels)
        accelerator.wait_for_everyone()
        if self.weights.sharded:
            count = accelerator.num_processes
            self.say(f"weights, gradients and optimizer lie in shards over {count} processes (FSDP)")
        self._say_what_is_missing()

    def _say_what_is_missing(self) -> None:
        for name, split in (("train", self.train_split), ("validation", self.validation)):
            missing = 0 if split.descriptions is None else split.descriptions.missing()
            if missing:
                self.say(
                    f"{missing} of {len(split.stickers)} stickers of the split {name} have no description"
                )

    def _build_loader(self) -> None:
        config, accelerator = self.config, self.accelerator
        size = self.model_config.image_size
        self.batches = EpochBatches(
            len(self.train_split.stickers),
            seed=config.seed,
            batch_size=config.batch_size,
            repeats=config.repeats,
            rank=accelerator.process_index,
            processes=accelerator.num_processes,
            labels=self.train_split.labels if config.imbalance.sampling == "balanced" else None,
        )
        stickers = AugmentedStickers(
            self.train_split.images, train_transform(size, config.augmentation), config.seed
        )
        self.loader = EpochLoader(stickers, self.batches, config, cuda=accelerator.device.type == "cuda")
        self.eval_transform = eval_transform(size, config.augmentation)

    @property
    def scaler(self) -> Any:
        return self.accelerator.scaler

    def fit(self) -> None:
        """All epochs that are left."""
        self.resume()
        config, folder = self.config, self.config.out / "tracker"
        values = config.model_dump(mode="json")
        total = self.config.epochs * self.batches.steps
        shown = self.config.progress and self.accelerator.is_main_process
        with (
            tracked(self.accelerator, config.tracker, folder, values, step=self.state["step"]),
            tqdm(
                total=total, initial=self.state["step"], disable=None if shown else True, unit="step"
            ) as bar,
        ):
            while self.state["epoch"] < self.config.epochs and not learnt_by_heart(config, self.state):
                self.train_epoch(bar)
                self.finish_epoch()
        if self.accelerator.is_main_process:
            with checkpoints.disk_errors_named(str(config.out / "curves.png")):
                draw_training(config.out / "curves.png", read_metrics(config.out))
            self.run.finish(self.state)
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()

    def resume(self) -> None:
        """Puts the last checkpoint back, if there is one."""
        if self.latest is None:
            return
        state = checkpoints.load_checkpoint(
            self.latest,
            weights=self.weights,
            average=self.average,
            optimizer=self.optimizer,
            scaler=self.scaler,
        )
        self.state = state = continued(state, self.state)
        if self.accelerator.is_main_process:
            self.run.keep_metrics(state["epoch"])
        self.say(f"resumed at epoch {state['epoch'] + 1}, step {state['step']}")

    def train_epoch(self, bar: Any) -> None:
        """The steps of an epoch that are left."""
        state = self.state
        self.model.train()
        before = time.perf_counter()
        for images, indices in self.loader.epoch(state["epoch"], state["step_in_epoch"]):
            arrived = time.perf_counter()
            losses = self.train_step(images, indices)
            now = time.perf_counter()
            count = len(indices) * self.accelerator.num_processes
            add_step(state, losses, stickers=count, seconds=now - before, waiting=arrived - before)
            before = now
            bar.update()
            bar.set_postfix(epoch=state["epoch"] + 1, loss=f"{losses['loss']:.3f}", refresh=False)
            if self.leave:
                self.save()
                raise KeyboardInterrupt
            every = self.config.checkpoint_every_steps
            if (
                every is not None
                and state["step"] % every == 0
                and state["step_in_epoch"] < self.batches.steps
            ):
                self.save()
                before = time.perf_counter()

    def train_step(self, images: Tensor, indices: Tensor) -> dict[str, float]:
        """One update; returns the losses, averaged over the processes."""
        config, device, step = self.config, self.accelerator.device, self.state["step"]
        rate = learning_rate(step, config=config, peak=self.peak, steps_per_epoch=self.batches.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        torch.manual_seed(mixed_seed(config.seed, step, self.accelerator.process_index, 1))
        labels = torch.from_numpy(self.train_split.labels[indices.numpy()]).to(device, non_blocking=True)
        output = self.model(
            images.to(device, non_blocking=True),
            labels=labels,
            **text_of(self.train_split, indices, device, tuned=config.tune_text_encoder),
        )
        losses = loss_values(output, self.stages)
        losses, self.leave = all_reduce_mean(self.accelerator, losses, self.stop.made)
        if not math.isfinite(losses["loss"]):
            raise FloatingPointError(self.note_bad_batch(losses, indices))
        log_step(self.accelerator, config.tracker, losses, rate, step)
        self.accelerator.backward(output.loss)
        if config.clip_grad is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), config.clip_grad)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None and config.ema_decay is not None:
            self.average.follow(self.weights, decay=config.ema_decay, step=step)
        return losses

    def note_bad_batch(self, losses: dict[str, float], indices: Tensor) -> str:
        """Saves the ids of all processes' batches; returns the sentence to stop with."""
        ids = [self.train_split.stickers[index].id for index in indices.tolist()]
        if self.accelerator.num_processes > 1:
            ids = gather_object(ids)
        return broadcast_from_main(self.accelerator, lambda: self.run.note_bad_batch(self.state, losses, ids))

    def finish_epoch(self) -> None:
        """Validation, the line of metrics.jsonl, the best weights, a checkpoint."""
        state, config = self.state, self.config
        judged = (self.average or self.weights).whole()
        started = time.perf_counter()
        if state["epoch"] + 1 < config.epochs:
            # The workers would be idle while the main process validates.
            self.loader.prepare(state["epoch"] + 1)
        probabilities = predict(
            *to_predict(judged, self.validation),
            self.eval_transform,
            accelerator=self.accelerator,
            batch_size=config.eval_batch_size,
            workers=config.workers,
        )
        figures = validation_figures(self.validation.labels, probabilities, self.labels)
        sums = state["sums"]
        better = end_epoch(state, figures)
        line = epoch_record(
            sums,
            epoch=state["epoch"],
            step=state["step"],
            rate=self.optimizer.param_groups[0]["lr"],
            validation=figures,
            better=better,
            seconds_validation=time.perf_counter() - started,
            memory_mb=memory_mb(self.accelerator.device),
        )
        last = state["epoch"] == config.epochs or learnt_by_heart(config, state)
        if self.accelerator.is_main_process:
            # The check has hundreds of short epochs, and only whether it ends well is of interest.
            if last if config.overfit is not None else better:
                self.run.write_best(judged, self.model_card(network(judged), line))
            self.run.add_metrics(line)
        log_epoch(self.accelerator, config.tracker, line)
        if last or state["epoch"] % config.checkpoint_every_epochs == 0:
            self.save()
        self.say(epoch_line(line, config.epochs))

    def save(self) -> None:
        """A checkpoint: all processes give their part, the main process writes."""
        model, optimizer = self.weights.whole(), full_state(self.optimizer)
        average = None if self.average is None else self.average.whole()
        if self.accelerator.is_main_process:
            checkpoints.save_checkpoint(
                self.config.out,
                model=model,
                average=average,
                optimizer=optimizer,
                scaler=self.scaler,
                state=self.state,
                keep=self.config.keep_checkpoints,
            )

    def model_card(self, model: MGHFT, line: dict[str, Any]) -> str:
        """README.md of the weights of one epoch."""
        return training_card(
            model,
            config=self.config,
            card=self.card,
            line=line,
            counts={"train": len(self.train_split.stickers), "validation": len(self.validation.stickers)},
            processes=self.accelerator.num_processes,
            versions=package_versions(),
        )

    def say(self, text: str) -> None:
        if self.accelerator.is_main_process and self.config.progress:
            tqdm.write(text)
