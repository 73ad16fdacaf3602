"""The training loop: `train(config)` fills a run folder and can be stopped and resumed at any step.

A step draws from no generator that survives it (order, augmentation and dropout are functions of the seed and
of where the step lies), so weights, optimizer and a few numbers are all there is to restore.
"""

from __future__ import annotations

import copy
import math
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from torch import Tensor
from tqdm import tqdm

from model import MGHFT, load_pvt_weights
from train import checkpoints
from train.config import TrainConfig
from train.data import data_fingerprint
from train.loading import EpochLoader
from train.losses import Criterion, class_counts
from train.material import load_encoder, load_split, open_corpus, read_split, resolve_model
from train.metrics import classification_metrics
from train.predict import build_accelerator, predict
from train.run_folder import RunFolder, epoch_line
from train.sampler import AugmentedStickers, EpochBatches, eval_transform, mixed_seed, train_transform
from train.schedule import build_optimizer, learning_rate, update_average
from train.stopping import StopRequest
from train.text_features import text_statistics
from train.text_tuning import Trained, TunedMGHFT, text_of, to_predict

LOSSES = ("loss", "classification_loss", "alignment_loss")


def train(config: TrainConfig) -> Path:
    """Trains and returns the run folder; a finished run is left as it is.

    Raises:
        ValueError, FileNotFoundError: something the user gave is wrong; one sentence.
        FloatingPointError: the loss is not finite any more; one sentence.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, once a checkpoint is written.
    """
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    corpus = open_corpus(config)
    parts = {name: read_split(config, corpus, name) for name in ("train", "validation")}
    stickers = [sticker for found, _ in parts.values() for sticker in found]
    accelerator = build_accelerator(config)
    run = RunFolder(config.out)
    identity = {
        **config.identity(),
        "processes": accelerator.num_processes,
        "data_fingerprint": data_fingerprint(
            stickers, corpus.card.labels, [found for _, found in parts.values() if found is not None]
        ),
    }
    if run.check(identity, resume=config.resume):
        return config.out
    accelerator.wait_for_everyone()
    trainer = Trainer(config, accelerator, run, identity)
    with trainer.stop.on_signals():
        trainer.fit()
    return config.out


class Trainer:
    """One run in one process."""

    def __init__(
        self, config: TrainConfig, accelerator: Accelerator, run: RunFolder, identity: dict[str, Any]
    ) -> None:
        self.config, self.accelerator, self.run = config, accelerator, run
        corpus = open_corpus(config)
        self.labels = corpus.card.labels
        encoder = load_encoder(config)
        self.model_config = resolve_model(
            config, labels=self.labels, text_dim=None if encoder is None else encoder.width
        )
        with accelerator.main_process_first():
            frozen = None if config.tune_text_encoder else encoder
            self.train_split, self.validation = (
                load_split(config, corpus, name, model_config=self.model_config, encoder=frozen)
                for name in ("train", "validation")
            )
        torch.manual_seed(config.seed)
        mghft = MGHFT(self.model_config)
        if config.pvt_weights is not None:
            load_pvt_weights(mghft, config.pvt_weights)
        plain: Trained = mghft
        if config.tune_text_encoder and encoder is not None:
            plain = TunedMGHFT(mghft, encoder)
        if config.standardize_text and config.use_text:
            features = to_predict(plain, self.train_split)[1].features
            assert features is not None
            mghft.set_text_statistics(*text_statistics(features, self.train_split.mask))
        self.criterion = Criterion(
            config.imbalance,
            class_counts(self.train_split.labels, len(self.labels)),
            label_smoothing=config.label_smoothing,
            alignment_weight=self.model_config.alignment_weight,
        )
        self.peak = config.learning_rate(accelerator.num_processes)
        optimizer = build_optimizer(plain, config, self.peak)
        self.model, self.optimizer = accelerator.prepare(plain, optimizer)
        self.plain: Trained = accelerator.unwrap_model(self.model)
        self.average: Trained | None = None
        if config.ema_decay is not None:
            self.average = copy.deepcopy(self.plain).eval().requires_grad_(False)
        self._build_loader()
        # What a checkpoint holds beside tensors; sums are of the epoch under way.
        self.state: dict[str, Any] = {
            "epoch": 0,
            "step_in_epoch": 0,
            "step": 0,
            "best_epoch": None,
            "best_accuracy": -1.0,
            "best_loss": math.inf,
            "sums": dict.fromkeys((*LOSSES, "stickers", "seconds", "waiting"), 0.0),
        }
        self.stop = StopRequest()
        if accelerator.is_main_process:
            run.begin(identity, config, self.model_config, self.labels)
        accelerator.wait_for_everyone()
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
        latest = self.run.resume_from()
        if latest is not None:
            self.state = checkpoints.load_checkpoint(
                latest,
                model=self.plain,
                average=self.average,
                optimizer=self.optimizer,
                scaler=self.scaler,
            )
            self.run.keep_metrics(self.state["epoch"])
            self.say(f"resumed at epoch {self.state['epoch'] + 1}, step {self.state['step']}")
        total = self.config.epochs * self.batches.steps
        shown = self.config.progress and self.accelerator.is_main_process
        with tqdm(
            total=total, initial=self.state["step"], disable=None if shown else True, unit="step"
        ) as bar:
            while self.state["epoch"] < self.config.epochs:
                self.train_epoch(bar)
                self.finish_epoch()
        if self.accelerator.is_main_process:
            self.run.finish(self.state)
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()

    def train_epoch(self, bar: Any) -> None:
        """The steps of an epoch that are left."""
        state = self.state
        self.model.train()
        before = time.perf_counter()
        for images, indices in self.loader.epoch(state["epoch"], state["step_in_epoch"]):
            arrived = time.perf_counter()
            losses = self.train_step(images, indices)
            state["step"] += 1
            state["step_in_epoch"] += 1
            sums = state["sums"]
            for name, value in losses.items():
                sums[name] += value
            sums["stickers"] += len(indices) * self.accelerator.num_processes
            sums["waiting"] += arrived - before
            before_next = time.perf_counter()
            sums["seconds"] += before_next - before
            before = before_next
            bar.update()
            bar.set_postfix(epoch=state["epoch"] + 1, loss=f"{losses['loss']:.3f}", refresh=False)
            if self.stop.made:
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
        """One update; returns the losses of this process."""
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
        output = self.criterion(output, labels)
        values = {name: getattr(output, name) for name in LOSSES}
        losses = {name: 0.0 if value is None else value.item() for name, value in values.items()}
        if not math.isfinite(losses["loss"]):
            raise FloatingPointError(self.run.note_bad_batch(self.state, losses, self.ids(indices)))
        self.accelerator.backward(output.loss)
        if config.clip_grad is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), config.clip_grad)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None and config.ema_decay is not None:
            update_average(self.average, self.plain, decay=config.ema_decay, step=step)
        return losses

    def ids(self, indices: Tensor) -> list[str]:
        return [self.train_split.stickers[index].id for index in indices.tolist()]

    def finish_epoch(self) -> None:
        """Validation, the line of metrics.jsonl, the best weights, a checkpoint."""
        state, config = self.state, self.config
        judged = self.average if self.average is not None else self.plain
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
        figures = classification_metrics(self.validation.labels, probabilities.argmax(1), self.labels)
        chosen = probabilities[np.arange(len(probabilities)), self.validation.labels]
        loss = float(-np.log(np.clip(chosen, 1e-12, None)).mean())
        sums, steps = state["sums"], self.batches.steps
        state["epoch"] += 1
        better = (figures["accuracy"], -loss) > (state["best_accuracy"], -state["best_loss"])
        line = {
            "epoch": state["epoch"],
            "step": state["step"],
            "lr": self.optimizer.param_groups[0]["lr"],
            **{name: sums[name] / steps for name in LOSSES},
            "validation_loss": loss,
            "validation_accuracy": figures["accuracy"],
            "validation_f1_macro": figures["f1_macro"],
            "validation_f1_weighted": figures["f1_weighted"],
            "best": better,
            "stickers_per_second": sums["stickers"] / max(sums["seconds"], 1e-9),
            "seconds": sums["seconds"],
            "seconds_waiting": sums["waiting"],
            "seconds_validation": time.perf_counter() - started,
            "memory_mb": self.memory_mb(),
        }
        if better:
            state |= {
                "best_epoch": state["epoch"],
                "best_accuracy": figures["accuracy"],
                "best_loss": loss,
            }
        state["step_in_epoch"] = 0
        state["sums"] = dict.fromkeys(sums, 0.0)
        if self.accelerator.is_main_process:
            if better:
                self.run.write_best(judged, line)
            self.run.add_metrics(line)
        last = state["epoch"] == config.epochs
        if last or state["epoch"] % config.checkpoint_every_epochs == 0:
            self.save()
        self.say(epoch_line(line, config.epochs))

    def save(self) -> None:
        """A checkpoint, by the main process alone."""
        if self.accelerator.is_main_process:
            checkpoints.save_checkpoint(
                self.config.out,
                model=self.plain,
                average=self.average,
                optimizer=self.optimizer,
                scaler=self.scaler,
                state=self.state,
                keep=self.config.keep_checkpoints,
            )

    def memory_mb(self) -> float:
        if self.accelerator.device.type == "cuda":
            return torch.cuda.max_memory_allocated() / 2**20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def say(self, text: str) -> None:
        if self.accelerator.is_main_process and self.config.progress:
            tqdm.write(text)
