"""The training loop, which can be stopped and resumed at any step.

A step draws from no generator that survives it (order, augmentation and dropout are functions of the seed and
of where the step lies), so weights, optimizer and a few numbers are all there is to restore.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from accelerate.utils import gather_object  # type: ignore[import-untyped]
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from mghft.model import MGHFT, MGHFTConfig
from mghft.model.joint import Network, Trained, network
from mghft.model.peers import PeerConfig
from mghft.pipeline.waiting import is_quiet
from mghft.train.config import TrainConfig
from mghft.train.data.loader import EpochLoader
from mghft.train.data.sampler import (
    AugmentedStickers,
    EpochBatches,
    eval_transform,
    mixed_seed,
    train_transform,
)
from mghft.train.data.splits import Split, TrainingData
from mghft.train.distributed.collectives import all_reduce_mean, broadcast_from_main
from mghft.train.distributed.fsdp import full_state, prepare
from mghft.train.evaluation.calibration import fit_temperature
from mghft.train.evaluation.metrics import validation_figures
from mghft.train.evaluation.plots import draw_training
from mghft.train.evaluation.predict import predict, to_predict
from mghft.train.runs import checkpoints
from mghft.train.runs.files import epoch_line, read_metrics
from mghft.train.runs.folder import RunFolder, package_versions
from mghft.train.runs.inference import InferenceConfig
from mghft.train.runs.model_card import training_card
from mghft.train.runs.records import EpochRecord
from mghft.train.runs.tracking import Tracker, open_tracker
from mghft.train.trainer.losses import class_counts, class_loss
from mghft.train.trainer.optimizer import build_optimizer, learning_rate
from mghft.train.trainer.overfit import is_learnt
from mghft.train.trainer.signals import StopRequest
from mghft.train.trainer.state import Step, epoch_record, fresh_state, loss_values, memory_mb, stage_losses


class Trainer:
    """One run in one process."""

    def __init__(
        self,
        config: TrainConfig,
        accelerator: Accelerator,
        run: RunFolder,
        data: TrainingData,
        model: Trained,
        *,
        latest: Path | None,
        say: Callable[[str], object],
        inference: InferenceConfig,
    ) -> None:
        """
        Args:
            latest: checkpoint to go on from; None for a run that begins.
            say: shows a line of news.
            inference: how the weights will be used, but for the temperature.
        """
        self.config, self.accelerator, self.run, self.data = config, accelerator, run, data
        self.latest, self.say, self.inference = latest, say, inference
        self.model_config: MGHFTConfig | PeerConfig = network(model).config
        plain = network(model)
        if isinstance(plain, MGHFT):
            plain.gather_negatives = config.gather_negatives
        plain.classification_loss = class_loss(
            config.imbalance,
            class_counts(data.train.labels, len(data.card.labels)),
            label_smoothing=config.label_smoothing,
        )
        self.peak = config.learning_rate(accelerator.num_processes)
        optimizer = build_optimizer(
            model,
            accelerator.device,
            lr=self.peak,
            weight_decay=config.weight_decay,
            text_lr_scale=config.text_lr_scale,
            backbone_lr_scale=config.backbone_lr_scale,
        )
        self.model, self.optimizer, self.weights = prepare(accelerator, model, optimizer)
        self.ema = None if config.ema_decay is None else self.weights.ema()
        self._build_loader()
        self.stages = stage_losses(self.model_config.alignment_stages)
        self.state = fresh_state(self.batches.steps, self.stages)
        self.stop, self.leave, self.tracker = StopRequest(), False, Tracker()

    def _build_loader(self) -> None:
        config, accelerator, split = self.config, self.accelerator, self.data.train
        size = self.model_config.image_size
        self.batches = EpochBatches(
            len(split.stickers),
            seed=config.seed,
            batch_size=config.batch_size,
            repeats=config.repeats,
            rank=accelerator.process_index,
            processes=accelerator.num_processes,
            labels=split.labels if config.imbalance.sampling == "balanced" else None,
            released=config.order == "released",
        )
        stickers = AugmentedStickers(split.images, train_transform(size, config.augmentation), config.seed)
        cuda = accelerator.device.type == "cuda"
        self.loader = EpochLoader(stickers, self.batches, config.loading, cuda=cuda)
        self.eval_transform = eval_transform(size, config.augmentation)

    @property
    def ended(self) -> bool:
        """True when no epoch remains; the overfit check ends as soon as it has learnt its stickers."""
        state, config = self.state, self.config
        learnt = config.overfit is not None and is_learnt(state.best_accuracy, state.best_loss)
        return learnt or state.epoch >= config.epochs

    def fit(self) -> None:
        """Train the remaining epochs, each with validation, and finish the run."""
        self.resume()
        config, state, main = self.config, self.state, self.accelerator.is_main_process
        shown = config.progress and main and not is_quiet()
        with (
            open_tracker(
                config.tracker if main else None,
                config.out / "tracker",
                config.model_dump(mode="json"),
                state.step,
            ) as self.tracker,
            tqdm(
                total=config.epochs * self.batches.steps,
                initial=state.step,
                disable=None if shown else True,
                unit="step",
            ) as bar,
        ):
            while not self.ended:
                self.train_epoch(bar)
                self.finish_epoch()
        if main:
            with checkpoints.disk_errors_named(str(config.out / "curves.png")):
                draw_training(config.out / "curves.png", read_metrics(config.out))
            self.run.finish(state.summary())
        self.close()

    def close(self) -> None:
        """Wait for the other processes and leave them."""
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()

    def resume(self) -> None:
        """Load the last checkpoint, if there is one."""
        if self.latest is None:
            return
        saved = checkpoints.load_checkpoint(
            self.latest,
            weights=self.weights,
            ema=self.ema,
            optimizer=self.optimizer,
            scaler=self.accelerator.scaler,
        )
        self.state = self.state.resumed(saved)
        if self.accelerator.is_main_process:
            self.run.keep_metrics(self.state.epoch)
        self.say(f"resumed at epoch {self.state.epoch + 1}, step {self.state.step}")

    def train_epoch(self, bar: Any) -> None:
        """Train the remaining steps of an epoch, with checkpoints inside it where they are due."""
        state = self.state
        for step in self.train_steps():
            bar.update()
            bar.set_postfix(epoch=state.epoch + 1, loss=f"{step.losses['loss']:.3f}", refresh=False)
            if self.leave:
                self.save()
                raise KeyboardInterrupt
            if state.step_in_epoch < self.batches.steps and self.config.checkpointing.after_step(state.step):
                self.save()

    def train_steps(self) -> Iterator[Step]:
        """Yield every remaining step of an epoch once it is done; the caller's own time is not measured."""
        self.model.train()
        started = time.perf_counter()
        for images, indices in self.loader.epoch(self.state.epoch, self.state.step_in_epoch):
            arrived = time.perf_counter()
            losses = self.train_step(images, indices)
            step = Step(
                losses,
                stickers=len(indices) * self.accelerator.num_processes,
                seconds=time.perf_counter() - started,
                waiting=arrived - started,
            )
            self.state.add(step)
            yield step
            started = time.perf_counter()

    def train_step(self, images: Tensor, indices: Tensor) -> dict[str, float]:
        """Update the weights once; return the losses, averaged over the processes."""
        config, device, step = self.config, self.accelerator.device, self.state.step
        rate = learning_rate(step, config.schedule, peak=self.peak, steps_per_epoch=self.batches.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        torch.manual_seed(mixed_seed(config.seed, step, self.accelerator.process_index, 1))
        labels = torch.from_numpy(self.data.train.labels[indices.numpy()]).to(device, non_blocking=True)
        output = self.model(
            images.to(device, non_blocking=True),
            labels=labels,
            **self.data.train.text_inputs(indices, device),
        )
        losses = loss_values(output, self.stages)
        losses, self.leave = all_reduce_mean(self.accelerator, losses, self.stop.made)
        if not math.isfinite(losses["loss"]):
            raise FloatingPointError(self.note_bad_batch(losses, indices))
        self.tracker.log_step(losses, rate, step)
        self.accelerator.backward(output.loss)
        if config.clip_grad is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), config.clip_grad)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.ema is not None and config.ema_decay is not None:
            self.ema.update(self.weights, decay=config.ema_decay, step=step)
        return losses

    def note_bad_batch(self, losses: dict[str, float], indices: Tensor) -> str:
        """Write the ids of all processes' batches; return the sentence to stop with."""
        ids = [self.data.train.stickers[index].id for index in indices.tolist()]
        if self.accelerator.num_processes > 1:
            ids = gather_object(ids)
        step = self.state.step
        file = broadcast_from_main(self.accelerator, lambda: self.run.write_bad_batch(step, losses, ids))
        return (
            f"the loss is {losses['loss']} at epoch {self.state.epoch + 1}, step {step}: "
            f"lower the learning rate or set clip_grad (the batch's sticker ids are in {file})"
        )

    def predict(self, model: Trained, split: Split) -> NDArray[np.float64]:
        """Return class probabilities [n, classes] of a split."""
        return predict(
            *to_predict(model, split),
            self.eval_transform,
            accelerator=self.accelerator,
            batch_size=self.config.eval_batch_size,
            workers=self.config.workers,
        )

    def finish_epoch(self) -> None:
        """Validate; write the line of metrics.jsonl, the best weights, a checkpoint where one is due."""
        state, config = self.state, self.config
        model = (self.ema or self.weights).full_model()
        started = time.perf_counter()
        if state.epoch + 1 < config.epochs:
            # The workers would be idle while the main process validates.
            self.loader.prepare(state.epoch + 1)
        probabilities = self.predict(model, self.data.validation)
        figures = validation_figures(self.data.validation.labels, probabilities, self.data.card.labels)
        sums = state.sums
        better = state.end_epoch(figures)
        record = epoch_record(
            state,
            sums,
            rate=self.optimizer.param_groups[0]["lr"],
            figures=figures,
            better=better,
            seconds_validation=time.perf_counter() - started,
            memory_mb=memory_mb(self.accelerator.device),
        )
        if self.accelerator.is_main_process:
            # The overfit check has hundreds of short epochs, and only whether it ends well is of interest.
            if self.ended if config.overfit is not None else better:
                temperature = fit_temperature(probabilities, self.data.validation.labels)
                inference = self.inference.model_copy(update={"temperature": temperature})
                self.run.write_best(model, self.model_card(network(model), record), inference)
            self.run.add_metrics(record)
        self.tracker.log_epoch(record)
        if self.ended or config.checkpointing.after_epoch(state.epoch):
            self.save()
        self.say(epoch_line(record, config.epochs))

    def save(self) -> None:
        """Write a checkpoint: all processes give their shards, the main process writes."""
        model, optimizer = self.weights.full_model(), full_state(self.optimizer)
        ema = None if self.ema is None else self.ema.full_model()
        if self.accelerator.is_main_process:
            checkpoints.save_checkpoint(
                self.config.out,
                model=model,
                ema=ema,
                optimizer=optimizer,
                scaler=self.accelerator.scaler,
                state=self.state.saved(),
                keep=self.config.keep_checkpoints,
            )

    def model_card(self, model: Network, record: EpochRecord) -> str:
        """Return README.md of the weights of one epoch."""
        data = self.data
        return training_card(
            model,
            card=data.card,
            text=self.config.text,
            record=record,
            epochs=self.config.epochs,
            counts={"train": len(data.train.stickers), "validation": len(data.validation.stickers)},
            settings=self.config.highlights(self.accelerator.num_processes) | package_versions(),
        )
