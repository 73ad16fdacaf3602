"""Trains the shipped stand-in from scratch: `python -m mghft.pipeline.tiny_llava.train --out DIR`.

Stage 1 teaches the vision tower, by throw-away heads, to tell all emoji of the set-aside styles apart. In
stage 2 the tower rests, and projector and language model learn to write the views that are asked for: of what
the heads see, also in mixtures of two drawings, not of what was drawn. Taught on the training's drawings
alone, where the heads hardly err, the writer named far fewer emoji of other styles right than the heads did.
No emotion label is read. Steps are counted, not minutes, and everything is seeded.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from mghft.pipeline.corpora.emoji.art import Art, load_art, load_monitor
from mghft.pipeline.corpora.emoji.augment import augment, strength, to_ink, to_input
from mghft.pipeline.corpora.emoji.table import STAND_IN_STYLES
from mghft.pipeline.tiny_llava.images import IMAGE_SIZE, RENDERED
from mghft.pipeline.tiny_llava.modeling import (
    CHINESE,
    IMAGE_TOKENS,
    SPECIAL_TOKENS,
    TOWER_WIDTH,
    VIEW_TOKENS,
    build_model,
    build_processor,
    build_tokenizer,
    save_checkpoint,
    start_tower,
)
from mghft.pipeline.tiny_llava.texts import LANGUAGES, Entry, as_response, describe, load_entries
from mghft.pipeline.views import VIEWS

LEARNING_RATE, WARMUP_SHARE, CLIP = 1e-3, 0.05, 1.0
MIXED, MIXED_AT_MOST = 0.6, 0.5
CONTENT_WEIGHT = 4.0
# How the training asks: all four views, one of them, or some; and how often in Chinese.
ALL_VIEWS, ONE_VIEW, IN_CHINESE = 0.6, 0.25, 0.25
START_PICTURES, SHARED_BY = 1024, 8
# Of the corpus' training art, none of which is learnt from here; the test style is not even looked at.
MONITOR_STYLES = ("noto", "fluent-emoji", "fluent-emoji-flat", "streamline-emojis")

Monitor = Mapping[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Options:
    """What decides the result of a run, beside the art and the network.

    Attributes:
        head_steps: of fitting heads to a tower that was trained before.
        language_rate: learning rate of stage 2.
        strength: of the augmentation at its strongest; it begins with .4 of that.
        device: on a GPU two runs are alike, but not to the bit.
    """

    tower_steps: int = 5000
    tower_batch: int = 192
    head_steps: int = 300
    language_steps: int = 2000
    language_batch: int = 64
    language_rate: float = 1e-3
    strength: float = 1.0
    seed: int = 0
    device: str = "cuda" if torch.cuda.is_available() else "cpu"


class Heads(nn.Module):
    """Throw-away heads on the tower's mean patch: which emoji, which style, which published tags."""

    def __init__(self, width: int, identities: int, styles: int, tags: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.identity = nn.Linear(width, identities)
        self.style = nn.Linear(width, styles)
        self.tags = nn.Linear(width, tags)

    def name(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Return which emoji and which style they see [B] in patches [B, 1 + K, C], class token first."""
        pooled = self.norm(patches[:, 1:].mean(1))
        return self.identity(pooled).argmax(1), self.style(pooled).argmax(1)

    def forward(self, patches: Tensor, identity: Tensor, style: Tensor, tags: Tensor) -> Tensor:
        """Return the loss.

        Args:
            patches: [B, 1 + K, C], class token first.
            identity, style: [B], which emoji and which art they are of.
            tags: [B, T], 1 for the tags of the emoji.
        """
        pooled = self.norm(patches[:, 1:].mean(1))
        named = F.cross_entropy(self.identity(pooled), identity, label_smoothing=0.1)
        drawn = F.cross_entropy(self.style(pooled), style)
        # Summed over tags and scaled: a mean over hundreds of mostly absent tags would have no voice.
        tagged = F.binary_cross_entropy_with_logits(self.tags(pooled), tags, reduction="sum") / len(tags)
        return named + 0.3 * drawn + 0.03 * tagged


@dataclass(frozen=True)
class Question:
    """Which views are asked for, in the order of VIEWS, and in which language."""

    views: tuple[str, ...]
    language: str

    @property
    def tokens(self) -> tuple[str, ...]:
        """Return the prompt as the chat template writes it, but for the image."""
        asked = tuple(VIEW_TOKENS[view] for view in self.views)
        return (*asked, *((CHINESE,) if self.language == "zh" else ()), "<describe>")


def draw_question(generator: torch.Generator) -> Question:
    """Return a question as the prompt packs ask them: mostly all views, often one, at times some."""
    kind, language = torch.rand(2, generator=generator).tolist()
    order = torch.randperm(len(VIEWS), generator=generator).tolist()
    count = len(VIEWS) if kind < ALL_VIEWS else 1 if kind < ALL_VIEWS + ONE_VIEW else 2 + order[0] % 2
    views = tuple(VIEWS[place] for place in sorted(order[:count]))
    return Question(views, "zh" if language < IN_CHINESE else "en")


def encode(
    tokenizer: PreTrainedTokenizerFast, questions: Sequence[Question], texts: Sequence[Mapping[str, str]]
) -> tuple[Tensor, Tensor]:
    """Return prompts and answers as tokens [B, T], the image's included, and the loss weight of each [B, T].

    Prompt and padding weigh 0. Everything else follows from what is drawn: the content's tokens weigh most.
    """
    rows, weights = [], []
    for question, views in zip(questions, texts, strict=True):
        head = ["<s>", *["<image>"] * IMAGE_TOKENS, *question.tokens]
        answer = tokenizer(as_response(views), return_offsets_mapping=True)
        content = range(0)
        if "content" in views:
            first = len('{"content":"')
            content = range(first, first + len(views["content"]))
        weight = [CONTENT_WEIGHT if place[0] in content else 1.0 for place in answer["offset_mapping"]]
        rows.append([*map(SPECIAL_TOKENS.index, head), *answer["input_ids"], tokenizer.eos_token_id])
        weights.append([*[0.0] * len(head), *weight, 1.0])
    length = max(map(len, rows))
    padded = [row + [0] * (length - len(row)) for row in rows]
    return torch.tensor(padded), torch.tensor([row + [0.0] * (length - len(row)) for row in weights])


def tag_table(entries: Mapping[str, Mapping[str, Entry]], art: Art) -> Tensor:
    """Return which of the tags that SHARED_BY emoji or more share every identity has, [n, T]."""
    counted: dict[str, int] = {}
    own = [entries[emoji.hexcode]["en"].tags for emoji in art.known]
    for tag in (tag for tags in own for tag in tags):
        counted[tag] = counted.get(tag, 0) + 1
    shared = [tag for tag in sorted(counted) if counted[tag] >= SHARED_BY]
    return torch.tensor([[float(tag in tags) for tag in shared] for tags in map(set, own)])


def optimizer_for(groups: list[tuple[list[nn.Parameter], float]], steps: int) -> Callable[[], None]:
    """Return the step of AdamW with warm-up and cosine over groups (parameters, learning rate)."""
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if (p.ndim >= 2) == matrix], "lr": rate, "weight_decay": decay}
            for parameters, rate in groups
            for matrix, decay in ((True, 0.05), (False, 0.0))
        ],
        betas=(0.9, 0.98),
        fused=True,
    )
    warmup = max(1, round(WARMUP_SHARE * steps))
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps - warmup))
    ramp = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=warmup)
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [ramp, cosine], [warmup])
    everything = [parameter for parameters, _ in groups for parameter in parameters]

    def step() -> None:
        torch.nn.utils.clip_grad_norm_(everything, CLIP)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()

    return step


class Training:
    """The network with its throw-away heads, and the art that it learns from."""

    def __init__(
        self,
        art: Art,
        entries: Mapping[str, Mapping[str, Entry]],
        tokenizer: PreTrainedTokenizerFast,
        options: Options,
    ) -> None:
        torch.manual_seed(options.seed)
        self.art, self.entries, self.tokenizer, self.options = art, entries, tokenizer, options
        self.generator = torch.Generator().manual_seed(options.seed)
        self.model = build_model(tokenizer)
        self.tower = self.model.model.vision_tower
        tags = tag_table(entries, art)
        self.heads = Heads(TOWER_WIDTH, len(art.known), len(art.counts), tags.shape[1])
        some = torch.randperm(len(art.pictures), generator=self.generator)[:START_PICTURES]
        start_tower(self.tower, to_input(to_ink(art.pictures[some])))
        device = torch.device(options.device)
        nn.Module.to(self.model, device)
        self.heads.to(device)
        self.pictures = art.pictures.to(device)
        self.identity, self.style = art.identity.to(device), art.style.to(device)
        self.flippable, self.tags = art.flippable.to(device), tags.to(device)
        self.device = device

    def draw(self, count: int, k: float) -> tuple[Tensor, Tensor]:
        """Return which drawings a batch is of [B], on the CPU, and its augmented pictures [B, 3, S, S]."""
        rows = torch.multinomial(self.art.weight, count, replacement=True, generator=self.generator)
        chosen = rows.to(self.device)
        ink = to_ink(self.pictures[chosen])
        changed = augment(ink, self.flippable[chosen], k, ink.shape[-1], self.generator)
        return rows, to_input(changed)

    def judge(self, patches: Tensor, rows: Tensor) -> Tensor:
        """Return the heads' loss for the tower's output of these drawings."""
        chosen = rows.to(self.device)
        identity = self.identity[chosen]
        loss: Tensor = self.heads(patches, identity, self.style[chosen], self.tags[identity])
        return loss

    def train_tower(self, monitor: Monitor) -> None:
        """Train the tower (stage 1)."""
        steps = self.options.tower_steps
        step = optimizer_for([([*self.tower.parameters(), *self.heads.parameters()], LEARNING_RATE)], steps)
        began = time.monotonic()
        for number in range(steps):
            rows, pixels = self.draw(self.options.tower_batch, self._strength(number, steps))
            loss = self.judge(self.tower(pixels).last_hidden_state, rows)
            loss.backward()  # type: ignore[no-untyped-call]
            step()
            if (number + 1) % 100 == 0 or number + 1 == steps:
                said = f"tower {number + 1}/{steps}: loss {loss.item():.3f}"
                if (number + 1) % 1000 == 0 or number + 1 == steps:
                    said += f", named right {self.named_right(monitor)}"
                print(f"{said}, {time.monotonic() - began:.0f} s", flush=True)

    def fit_heads(self, monitor: Monitor) -> None:
        """Fit the heads to a tower that was trained before and rests."""
        steps = self.options.head_steps
        step = optimizer_for([(list(self.heads.parameters()), LEARNING_RATE)], steps)
        for number in range(steps):
            rows, patches = self.rest(self.options.tower_batch)
            loss = self.judge(patches, rows)
            loss.backward()  # type: ignore[no-untyped-call]
            step()
            if (number + 1) % 100 == 0 or number + 1 == steps:
                right = self.named_right(monitor)
                print(f"heads {number + 1}/{steps}: loss {loss.item():.3f}, named right {right}", flush=True)

    def train_language(self) -> None:
        """Train projector and language model to write what the heads see (stage 2); the tower rests."""
        resting = {id(parameter) for parameter in self.tower.parameters()}
        parameters = [parameter for parameter in self.model.parameters() if id(parameter) not in resting]
        steps = self.options.language_steps
        step = optimizer_for([(parameters, self.options.language_rate)], steps)
        began = time.monotonic()
        for number in range(steps):
            patches = self.mixed(self.rest(self.options.language_batch)[1])
            with torch.no_grad():
                seen = self.heads.name(patches)
            loss = self.written(patches, *self.texts(*seen))
            loss.backward()  # type: ignore[no-untyped-call]
            step()
            if (number + 1) % 100 == 0 or number + 1 == steps:
                spent = time.monotonic() - began
                print(f"language {number + 1}/{steps}: loss {loss.item():.4f}, {spent:.0f} s", flush=True)

    @torch.no_grad()
    def rest(self, count: int) -> tuple[Tensor, Tensor]:
        """Return which drawings a batch is of [B], and what the resting tower makes of them [B, 1 + K, C]."""
        rows, pixels = self.draw(count, self.options.strength)
        patches: Tensor = self.tower(pixels).last_hidden_state
        return rows, patches

    def mixed(self, patches: Tensor) -> Tensor:
        """Return patches [B, 1 + K, C] of which a share is mixed with those of the next in the batch."""
        count = len(patches)
        share = torch.rand(count, generator=self.generator) * MIXED_AT_MOST
        share = torch.where(torch.rand(count, generator=self.generator) < MIXED, share, 0.0)
        weight = share.view(-1, 1, 1).to(patches.device)
        return patches + weight * (patches.roll(1, 0) - patches)

    def texts(self, identity: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """Return questions and answers for emoji [B] in styles [B], as `encode` does."""
        styles, questions, answers = tuple(self.art.counts), [], []
        for emoji, drawn in zip(identity.tolist(), style.tolist(), strict=True):
            question = draw_question(self.generator)
            entry = self.entries[self.art.known[emoji].hexcode][question.language]
            views = describe(entry, styles[drawn], question.language)
            questions.append(question)
            answers.append({view: views[view] for view in question.views})
        tokens, weights = encode(self.tokenizer, questions, answers)
        return tokens.to(self.device), weights.to(self.device)

    def written(self, patches: Tensor, tokens: Tensor, weights: Tensor) -> Tensor:
        """Return the language loss of questions and answers for the tower's output [B, 1 + K, C]."""
        words = self.model.get_input_embeddings()(tokens[:, :-1])
        image = self.model.model.multi_modal_projector(patches[:, 1:])
        # The image's places are the same in every prompt: its tokens replace places 1 to IMAGE_TOKENS.
        inputs = torch.cat([words[:, :1], image, words[:, 1 + IMAGE_TOKENS :]], 1)
        hidden = self.model.model.language_model(inputs_embeds=inputs, use_cache=False).last_hidden_state
        # Nothing before the first view's token is to be told.
        logits = self.model.lm_head(hidden[:, IMAGE_TOKENS + 1 :])
        targets, weights = tokens[:, IMAGE_TOKENS + 2 :], weights[:, IMAGE_TOKENS + 2 :]
        each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(weights)
        return (each * weights).sum() / weights.sum()

    @torch.no_grad()
    def named_right(self, monitor: Monitor) -> str:
        """Return, in words, the share of each style's pictures whose emoji the heads name right."""
        said = []
        for style, (pictures, identity) in monitor.items():
            named = [
                self.heads.name(self.tower(to_input(to_ink(some.to(self.device)))).last_hidden_state)[0]
                for some in torch.split(pictures, 64)
            ]
            right = (torch.cat(named).cpu() == identity).float().mean().item()
            said.append(f"{style} {right:.3f}")
        return " ".join(said)

    def _strength(self, step: int, steps: int) -> float:
        return strength(step, steps) * self.options.strength / 0.6


def train(
    out: Path, cache: Path | None = None, options: Options | None = None, start: Path | None = None
) -> Path:
    """Train, and write the checkpoint to `out`; needs no network when the npm packages are in `cache`.

    Args:
        start: a checkpoint of this training that takes the place of stage 1; heads are fitted to its tower.
    """
    options = options or Options()
    art = load_art(STAND_IN_STYLES, cache, rendered=RENDERED, side=IMAGE_SIZE)
    entries = load_entries(art.known, cache)
    sizes = {"rendered": RENDERED, "side": IMAGE_SIZE}
    monitor = {style: load_monitor(style, art.known, cache, **sizes) for style in MONITOR_STYLES}
    tokenizer = build_tokenizer(
        as_response(describe(entries[emoji.hexcode][language], style, language))
        for emoji in art.known
        for language in LANGUAGES
        for style in STAND_IN_STYLES
    )
    run = Training(art, entries, tokenizer, options)
    count = sum(parameter.numel() for parameter in run.model.parameters())
    print(f"{len(art.pictures)} drawings of {len(art.known)} emoji, {count:,} parameters", flush=True)
    if start is None:
        run.train_tower(monitor)
    else:
        before = LlavaForConditionalGeneration.from_pretrained(start, dtype=torch.float32)
        run.model.load_state_dict(before.state_dict())
        run.fit_heads(monitor)
    run.train_language()
    save_checkpoint(run.model.cpu(), build_processor(tokenizer), out)
    return out


def main() -> None:
    """Run the training as a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint")
    parser.add_argument("--cache", type=Path, default=None, help="folder of fetched npm packages")
    parser.add_argument("--start", type=Path, default=None, help="checkpoint with a trained tower")
    for name, value in vars(Options()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--threads", type=int, default=1)
    given = vars(parser.parse_args())
    began = time.monotonic()
    torch.set_num_threads(given.pop("threads"))
    torch.set_float32_matmul_precision("high")
    out, cache, start = given.pop("out"), given.pop("cache"), given.pop("start")
    train(out, cache, Options(**given), start)
    print(f"done after {(time.monotonic() - began) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
