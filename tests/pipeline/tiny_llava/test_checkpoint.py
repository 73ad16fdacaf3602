"""The shipped checkpoint itself: its size, that it loads, and that it describes an art style it never saw."""

import pytest
from safetensors import safe_open
from transformers import LlavaForConditionalGeneration

from mghft.pipeline.tiny_llava import checkpoint_path
from mghft.pipeline.tiny_llava.evaluate import (
    ask_transformers,
    load_pictures,
    measure,
    pack_questions,
    read_response,
)


@pytest.fixture(scope="module")
def questions():
    return {
        name: question
        for name, question in pack_questions().items()
        if name in ("multiview", "multiview-zh", "caption", "per-view: intention")
    }


@pytest.fixture(scope="module")
def responses(questions):
    pictures = load_pictures("twemoji")[::5]
    return pictures, ask_transformers(checkpoint_path(), pictures, questions)


def test_the_checkpoint_is_small_enough_to_ship():
    assert sum(path.stat().st_size for path in checkpoint_path().iterdir()) <= 15_000_000


def test_the_weights_are_bf16():
    with safe_open(checkpoint_path() / "model.safetensors", framework="pt") as weights:
        assert {str(weights.get_tensor(name).dtype) for name in weights.keys()} == {"torch.bfloat16"}  # noqa: SIM118


def test_transformers_loads_it_with_nothing_missing():
    _, report = LlavaForConditionalGeneration.from_pretrained(checkpoint_path(), output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]


def test_every_pack_is_answered_as_it_asks_though_nothing_forces_it(questions, responses):
    _, texts = responses
    for name, question in questions.items():
        assert all(read_response(text, question) is not None for text in texts[name]), name


def test_it_does_not_say_one_thing_for_every_sticker(responses):
    _, texts = responses
    contents = {views["content"] for text in texts["multiview"] if (views := read_response(text))}
    assert len(contents) > 0.6 * len(texts["multiview"])


def test_it_names_emoji_in_an_art_style_it_never_saw(responses):
    pictures, texts = responses
    figures = measure(pictures, texts["multiview"])
    assert figures.everything.name_exact >= 0.45
    assert figures.everything.emotion_right > figures.everything.always_happiness + 0.2


def test_it_names_emoji_in_chinese_too(questions, responses):
    pictures, texts = responses
    figures = measure(pictures, texts["multiview-zh"], question=questions["multiview-zh"])
    assert figures.everything.name_exact >= 0.45


def test_the_card_says_what_it_is():
    card = (checkpoint_path() / "README.md").read_text(encoding="utf-8")
    assert "no substitute for a real multimodal model" in card
