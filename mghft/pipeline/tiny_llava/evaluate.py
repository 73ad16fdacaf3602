"""Figures of the stand-in on art that it never saw: `python -m mghft.pipeline.tiny_llava.evaluate`.

For every prompt pack it prints how many answers are valid: JSON with the views that were asked for and no
other, in the pack's language; then the names and emotions told right, of the emoji that the corpus holds out
from every label and of the others, how many different texts it writes, and the speed.
"""

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from mghft.pipeline.corpora.emoji.art import load_known
from mghft.pipeline.corpora.emoji.drawings import draw
from mghft.pipeline.corpora.emoji.render import SIZE, load_icons
from mghft.pipeline.corpora.emoji.table import STYLES, Emoji, load_table
from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.prompting.load import load_pack, pack_names
from mghft.pipeline.tiny_llava.shipped import checkpoint_path
from mghft.pipeline.tiny_llava.texts import describe, load_entries
from mghft.pipeline.views import VIEWS, views_schema

MAX_TOKENS = 160


@dataclass(frozen=True)
class Question:
    """One request as a prompt pack makes it: the text, the views it asks for, and the answer's language."""

    user: str
    views: tuple[str, ...]
    language: str


MULTIVIEW = Question(
    f"Describe this sticker. Answer with one JSON object whose keys are {', '.join(VIEWS)}.", VIEWS, "en"
)


@dataclass(frozen=True)
class Picture:
    """One sticker to describe: its emoji and its RGB image on white."""

    emoji: Emoji
    image: Image.Image


@dataclass(frozen=True)
class PartFigures:
    """Shares of some emoji's stickers; `always_happiness` is what one constant emotion would score."""

    stickers: int
    name_exact: float
    emotion_right: float
    always_happiness: float


@dataclass(frozen=True)
class Figures:
    """The figures of all stickers, and those of the emoji held out from every label and of the others."""

    stickers: int
    valid: float
    distinct_texts: dict[str, int]
    distinct_responses: int
    everything: PartFigures
    held_out: PartFigures
    others: PartFigures


def load_pictures(style: str, cache: Path | None = None) -> list[Picture]:
    """Render all emoji of the table that the style draws, as the corpus does."""
    icons = load_icons(style, cache)
    return [
        Picture(emoji, Image.fromarray(draw(icons, emoji.icons[style], size=SIZE, side=SIZE)))
        for emoji in load_table()
        if style in emoji.icons
    ]


def read_response(text: str, question: Question = MULTIVIEW) -> dict[str, str] | None:
    """Return the views of a response, None where it is not the JSON object that was asked for."""
    try:
        views = json.loads(text)
    except json.JSONDecodeError:
        return None
    if not isinstance(views, dict) or tuple(views) != question.views:
        return None
    written = all(isinstance(value, str) and value.strip() for value in views.values())
    if not written or is_chinese("".join(views.values())) != (question.language == "zh"):
        return None
    return views


def is_chinese(text: str) -> bool:
    """Return whether at least half of a text's letters are Chinese."""
    letters = [sign for sign in text if sign.isalpha()]
    return 2 * sum("\u4e00" <= sign <= "\u9fff" for sign in letters) >= max(1, len(letters))


def measure(
    pictures: Sequence[Picture],
    texts: Sequence[str],
    cache: Path | None = None,
    question: Question = MULTIVIEW,
) -> Figures:
    """Compare the responses to some pictures with what the emoji are.

    An emotion is right when the emoji that the content names has the sticker's label.

    Args:
        question: that was asked about each of them.
    """
    table = {emoji.hexcode: emoji for emoji in load_table()}
    known = [emoji for emoji in load_known(cache) if emoji.hexcode in table]
    entries = load_entries(known, cache)
    names = {
        code: describe(by_language[question.language], "openmoji", question.language)["content"]
        for code, by_language in entries.items()
    }
    label_of = {name: table[code].label for code, name in names.items()}
    views = [read_response(text, question) for text in texts]

    def part(some: Sequence[bool]) -> PartFigures:
        rows = [
            (picture.emoji, "" if view is None else view.get("content", ""))
            for picture, view, chosen in zip(pictures, views, some, strict=True)
            if chosen
        ]
        return PartFigures(
            stickers=len(rows),
            name_exact=_share([content == names[emoji.hexcode] for emoji, content in rows]),
            emotion_right=_share([label_of.get(content) == emoji.label for emoji, content in rows]),
            always_happiness=_share([emoji.label == "happiness" for emoji, _ in rows]),
        )

    held_out = [picture.emoji.holdout for picture in pictures]
    return Figures(
        stickers=len(pictures),
        valid=_share([view is not None for view in views]),
        distinct_texts={name: len({view[name] for view in views if view}) for name in question.views},
        distinct_responses=len(set(texts)),
        everything=part([True] * len(pictures)),
        held_out=part(held_out),
        others=part([not flag for flag in held_out]),
    )


def ask_vllm(
    checkpoint: Path, pictures: Sequence[Picture], questions: Mapping[str, Question]
) -> tuple[dict[str, list[str]], dict[str, float]]:
    """Return greedy structured responses of vLLM to every question, and its speed with the first one."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    from vllm import LLM, SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    engine = LLM(
        model=str(checkpoint),
        enforce_eager=True,
        max_model_len=256,
        max_num_seqs=64,
        limit_mm_per_prompt={"image": 1},
        structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
    )
    texts: dict[str, list[str]] = {}
    speed: dict[str, float] = {}
    for name, question in questions.items():
        schema = StructuredOutputsParams(json=views_schema(question.views))
        sampling = SamplingParams(temperature=0, max_tokens=MAX_TOKENS, structured_outputs=schema)
        chats = [
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_pil", "image_pil": picture.image},
                        {"type": "text", "text": question.user},
                    ],
                }
            ]
            for picture in pictures
        ]
        engine.chat(chats[:2], sampling, use_tqdm=False)
        began = time.monotonic()
        outputs = engine.chat(chats, sampling, use_tqdm=False)
        seconds = time.monotonic() - began
        texts[name] = [output.outputs[0].text for output in outputs]
        tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
        speed = speed or {"stickers_per_second": len(chats) / seconds, "tokens_per_second": tokens / seconds}
    return texts, {key: round(value, 1) for key, value in speed.items()}


def ask_transformers(
    checkpoint: Path, pictures: Sequence[Picture], questions: Mapping[str, Question]
) -> dict[str, list[str]]:
    """Return greedy free responses of transformers: they show that JSON is learned, not only forced."""
    import torch
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    model = LlavaForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(checkpoint)  # type: ignore[no-untyped-call]
    texts: dict[str, list[str]] = {name: [] for name in questions}
    for name, question in questions.items():
        prompt = processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question.user}]}],
            add_generation_prompt=True,
        )
        for start in range(0, len(pictures), 32):
            images = [picture.image for picture in pictures[start : start + 32]]
            inputs = processor(images=images, text=[prompt] * len(images), return_tensors="pt")
            with torch.no_grad():
                tokens = model.generate(  # type: ignore[misc]
                    **inputs, max_new_tokens=MAX_TOKENS, do_sample=False
                )
            written = tokens[:, inputs["input_ids"].shape[1] :]
            texts[name] += processor.batch_decode(written, skip_special_tokens=True)
    return texts


def main() -> None:
    """Run the evaluation as a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=None, help="default: the shipped one")
    parser.add_argument("--style", choices=sorted(STYLES), default="twemoji")
    parser.add_argument("--cache", type=Path, default=None, help="folder of fetched npm packages")
    parser.add_argument("--engine", choices=("vllm", "transformers"), default="vllm")
    options = parser.parse_args()
    checkpoint = options.checkpoint or checkpoint_path()
    pictures = load_pictures(options.style, options.cache)
    questions = pack_questions()
    speed: dict[str, float] = {}
    if options.engine == "vllm":
        texts, speed = ask_vllm(checkpoint, pictures, questions)
    else:
        texts = ask_transformers(checkpoint, pictures, questions)
    figures = {name: measure(pictures, texts[name], options.cache, questions[name]) for name in questions}
    report: dict[str, Any] = {
        "style": options.style,
        "engine": options.engine,
        "valid": {name: figure.valid for name, figure in figures.items()},
        "multiview": asdict(figures["multiview"]),
        "multiview-zh": asdict(figures["multiview-zh"]),
        **speed,
    }
    print(json.dumps(report, indent=2))
    for name, some in texts.items():
        for picture, text in list(zip(pictures, some, strict=True))[:: len(pictures) // 2]:
            print(f"{name}: {picture.emoji.emoji} {picture.emoji.name}: {text}")


def pack_questions() -> dict[str, Question]:
    """Return what the shipped prompt packs ask; a pack that asks for each view by itself gives four."""
    questions = {}
    sticker = Sticker(id="1", path="1.png", split="test")
    for name in pack_names():
        pack = load_pack(name)
        for view, user in pack.messages(sticker):
            views = pack.asked if view is None else (view,)
            questions[name if view is None else f"{name}: {view}"] = Question(user, views, pack.language)
    return dict(sorted(questions.items(), key=lambda item: item[0] != "multiview"))


def _share(flags: Sequence[bool]) -> float:
    return round(sum(flags) / len(flags), 3) if flags else 0.0


if __name__ == "__main__":
    main()
