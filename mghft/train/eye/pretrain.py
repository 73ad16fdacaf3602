"""Pretrains the shipped eye: `python -m mghft.train.eye.pretrain --out DIR`.

A step draws from a generator of its own, seeded by the run's seed and the step's number. So weights,
optimizer and the number are all there is to restore, and a run that was killed goes on to the same bits.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mghft.model import MGHFTConfig, TextEncoder
from mghft.model.text_encoder import BUNDLED
from mghft.pipeline.corpora.emoji.art import Art, load_art, load_monitor
from mghft.pipeline.corpora.emoji.augment import augment, halved, look, strength, to_ink, to_input
from mghft.pipeline.corpora.emoji.table import STAND_IN_STYLES
from mghft.pipeline.files import check_folder, write_atomically
from mghft.train.data.sampler import mixed_seed
from mghft.train.eye.network import Eye, eye_config, start
from mghft.train.eye.weights import export

# Of the corpus' training art, none of which is learnt from here; the test style is not even looked at.
MONITOR_STYLES = ("noto", "fluent-emoji", "fluent-emoji-flat", "streamline-emojis")
BETAS, WEIGHT_DECAY, CLIP = (0.9, 0.98), 0.05, 1.0
WARMUP_SHARE, LAST_RATE = 0.05, 0.01
START_PICTURES = 1024


@dataclass(frozen=True)
class Options:
    """What decides the result of a run, beside the art and the network."""

    steps: int = 5000
    batch: int = 64
    lr: float = 1e-3
    seed: int = 0


Monitor = Mapping[str, tuple[Tensor, Tensor]]


def encode_words(words: tuple[str, ...]) -> Tensor:
    """Return the shipped text encoder's vectors of all identities, centred and of length 1: [n, 384]."""
    vectors = TextEncoder.from_pretrained(BUNDLED, "masked_mean").encode(words)
    return F.normalize(vectors - vectors.mean(0), dim=1)


def rate(step: int, options: Options) -> float:
    """Return the learning rate of a step: linear warm-up over 5 % of the run, then a cosine to 1 %."""
    warmup = max(1, round(WARMUP_SHARE * options.steps))
    if step < warmup:
        return options.lr * (step + 1) / warmup
    share = (step - warmup) / max(1, options.steps - 1 - warmup)
    return options.lr * (LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * share)))


class Pretraining:
    """One run: the network, its optimizer, and how many steps are done."""

    def __init__(self, art: Art, words: Tensor, config: MGHFTConfig, options: Options) -> None:
        """
        Args:
            words: of every identity, unit length, [n, text_width].
        """
        self.art, self.words, self.options, self.side = art, words, options, config.image_size
        torch.manual_seed(mixed_seed(options.seed))
        self.eye = Eye(config, len(art.known), words.shape[1])
        some = torch.randperm(len(art.pictures))[:START_PICTURES]
        start(self.eye, to_input(look(halved(to_ink(art.pictures[some])), self.side)))
        matrices = [parameter for parameter in self.eye.parameters() if parameter.ndim >= 2]
        others = [parameter for parameter in self.eye.parameters() if parameter.ndim < 2]
        groups = [
            {"params": matrices, "weight_decay": WEIGHT_DECAY},
            {"params": others, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=options.lr, betas=BETAS, fused=True)
        self.step = 0

    def advance(self) -> float:
        """Update the weights once; return the loss."""
        options, art = self.options, self.art
        generator = torch.Generator().manual_seed(mixed_seed(options.seed, self.step, 0))
        torch.manual_seed(mixed_seed(options.seed, self.step, 1))  # of dropout
        rows = torch.multinomial(art.weight, min(options.batch, len(art.weight)), generator=generator)
        k = strength(self.step, options.steps)
        ink = augment(halved(to_ink(art.pictures[rows])), art.flippable[rows], k, self.side, generator)
        for group in self.optimizer.param_groups:
            group["lr"] = rate(self.step, options)
        self.eye.train()
        loss: Tensor = self.eye(to_input(ink), self.words, art.identity[rows])
        value = loss.item()
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss is {value} at step {self.step}: try another --seed")
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.eye.parameters(), CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        return value

    @torch.no_grad()
    def named_right(self, pictures: Tensor, identity: Tensor) -> float:
        """Return the share of pictures uint8 [N, 3, S, S], as they are, whose emoji is named right."""
        self.eye.eval()
        batches = zip(torch.split(pictures, 64), torch.split(identity, 64), strict=True)
        right = [
            self.eye.identities(to_input(look(halved(to_ink(some)), self.side))) == named
            for some, named in batches
        ]
        return torch.cat(right).float().mean().item()

    def save(self, path: Path) -> None:
        """Write the run as it stands, whole or not at all; only tensors and plain containers."""
        content = {
            "run": self._fingerprint(),
            "step": self.step,
            "weights": self.eye.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write_atomically(path, lambda file: torch.save(content, file))

    def load(self, path: Path) -> None:
        """Go on from a file that `save` wrote.

        Raises:
            ValueError: it is of a run with other options, art or network, or damaged.
        """
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch has no error of its own for a file that is none of its
            raise ValueError(f"{path} is damaged: delete it to begin again") from error
        run = self._fingerprint()
        different = [name for name, value in run.items() if content["run"].get(name) != value]
        if different:
            raise ValueError(
                f"{path} is of a run with another {different[0]}: give the same options or another --out"
            )
        self.eye.load_state_dict(content["weights"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.step = content["step"]

    def _fingerprint(self) -> dict[str, Any]:
        shape = self.eye.mghft.config.model_dump_json()
        return {**asdict(self.options), "pictures": len(self.art.pictures), "network": shape}


def pretrain(
    run: Pretraining,
    out: Path,
    monitor: Monitor,
    *,
    checkpoint_every: int = 200,
    monitor_every: int = 200,
) -> Path:
    """Train to the end, going on from `out`/checkpoint.pt where there is one; export to `out`/eye.

    Args:
        monitor: per style that is not trained on, its pictures and their identities.

    Returns:
        The file of the exported weights.

    Raises:
        ValueError: `out` holds a run with other options.
    """
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint, options = out / "checkpoint.pt", run.options
    if checkpoint.exists():
        run.load(checkpoint)
        print(f"goes on at step {run.step} of {options.steps}", flush=True)
    began, first, losses = time.monotonic(), run.step, list[float]()
    while run.step < options.steps:
        losses.append(run.advance())
        if run.step % 50 == 0:
            each = (time.monotonic() - began) / (run.step - first)
            mean = sum(losses[-50:]) / len(losses[-50:])
            print(f"step {run.step}/{options.steps}: loss {mean:.3f}, {each:.2f} s a step", flush=True)
        if run.step % checkpoint_every == 0 or run.step == options.steps:
            run.save(checkpoint)
        if run.step % monitor_every == 0 or run.step == options.steps:
            _report(run, monitor)
    return export(run.eye.mghft, out / "eye")


def _report(run: Pretraining, monitor: Monitor) -> None:
    shares = [f"{style} {run.named_right(*pictures):.3f}" for style, pictures in monitor.items()]
    if shares:
        print(f"step {run.step}: named right among {len(run.art.known)}: {', '.join(shares)}", flush=True)


def main() -> None:
    """Run the pretraining as a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; goes on with one there")
    parser.add_argument("--cache", type=Path, default=None, help="folder of fetched npm packages")
    parser.add_argument("--steps", type=int, default=Options.steps)
    parser.add_argument("--seed", type=int, default=Options.seed)
    parser.add_argument("--threads", type=int, default=1, help="the shipped weights were made with one")
    parser.add_argument("--checkpoint-every", type=int, default=200, help="steps")
    given = parser.parse_args()
    began = time.monotonic()
    torch.set_num_threads(given.threads)
    art = load_art(STAND_IN_STYLES, given.cache)
    drawn = ", ".join(f"{style} {count}" for style, count in art.counts.items())
    print(f"{len(art.pictures)} pictures of {len(art.known)} emoji: {drawn}", flush=True)
    monitor = {style: load_monitor(style, art.known, given.cache) for style in MONITOR_STYLES}
    run = Pretraining(art, encode_words(art.words), eye_config(), Options(steps=given.steps, seed=given.seed))
    backbone = sum(parameter.numel() for parameter in run.eye.mghft.backbone.parameters())
    total = sum(parameter.numel() for parameter in run.eye.parameters())
    print(f"{total:,} parameters with the heads, {backbone:,} in the backbone", flush=True)
    file = pretrain(run, given.out, monitor, checkpoint_every=given.checkpoint_every)
    minutes = (time.monotonic() - began) / 60
    print(f"wrote {file}, {file.stat().st_size:,} bytes, after {minutes:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
