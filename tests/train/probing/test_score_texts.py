"""What is counted on texts, against counts made by hand."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from mghft.train.probing.described_runs import DescribedSticker
from mghft.train.probing.lexicon import in_scripts, labels_named, refuses, scripts_of, words
from mghft.train.probing.text_statistics import count_texts, mean_cosine

SER30K = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
MET_MEME = ("happiness", "love", "anger", "sorrow", "fear", "hate", "surprise")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("The cat looks Angry, even angrier than before.", {"anger"}),
        ("He feels DISGUSTED; a disgusting smell.", {"disgust"}),
        ("A fearful, fearsome night", {"fear"}),
        ("She smiles happily and could not be happier.", {"happiness"}),
        ("A neutral face", {"neutral"}),
        ("The saddest dog; it saddens me", {"sadness"}),
        ("Surprisingly, it is surprised", {"surprise"}),
        ("unhappy, fearless, a danger, a saddle", set()),
        ("happy-go-lucky, not sad", {"happiness", "sadness"}),
        ("一只生气的猫", {"anger"}),
        ("他很开心,也很惊讶", {"happiness", "surprise"}),
        ("joyful and glad", set()),
    ],
)
def test_labels_are_found_in_their_word_forms(text: str, named: set[str]) -> None:
    assert labels_named(text, SER30K) == named


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a cat in a hat, with hats and a glove", set()),
        ("he hates it, hated it, hatred", {"hate"}),
        ("loving, lovely, in love", {"love"}),
        ("a sorrowful song", {"sorrow"}),
    ],
)
def test_endings_do_not_make_other_words(text: str, named: set[str]) -> None:
    assert labels_named(text, MET_MEME) == named


def test_every_word_of_a_long_label_is_needed() -> None:
    assert labels_named("mildly surprised", ("mild_surprise",)) == {"mild_surprise"}
    assert labels_named("surprised", ("mild_surprise", "3")) == set()


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can’t assist with that.",
        "I cannot identify people in images.",
        "As an AI, I have no feelings.",
        "I am unable to view the picture",
        "Sorry, can't help with this one",
        "No image was provided.",
        "抱歉,我无法描述这张图片。",
        "作为一个人工智能,我不能回答",
        "请上传一张图片",
    ],
)
def test_refusals(text: str) -> None:
    assert refuses(text)


@pytest.mark.parametrize(
    "text",
    [
        "To say I'm sorry to a friend.",
        "A monkey who can't see: I can't see anything!",
        "Somebody who says: I can't help laughing.",
        "A cat with an image of a fish",
        "对不起,我错了",
        "我不能来",
    ],
)
def test_what_stickers_say_is_no_refusal(text: str) -> None:
    assert not refuses(text)


@pytest.mark.parametrize(
    ("language", "text", "fits"),
    [
        ("en", "A cat says 你好", True),
        ("en", "一只小猫在笑 LOL", False),
        ("zh", "一只小猫在笑 LOL", True),
        ("zh-Hans", "A smiling cat", False),
        ("ja", "ねこが笑う", True),
        ("ru", "Кот", True),
        ("en", "12 :) ☺", None),
    ],
)
def test_the_language_is_judged_by_its_script(language: str, text: str, fits: bool | None) -> None:
    scripts = scripts_of(language)
    assert scripts is not None and in_scripts(words(text), scripts) is fits


def test_an_unknown_language_is_not_judged() -> None:
    assert scripts_of("tlh") is None


def test_words() -> None:
    assert words("It’s a well-known Cat_2, 小猫!") == ["it's", "a", "well", "known", "cat", "2", "小", "猫"]


def sticker(
    label: str, content: str, details: str = "", status: str = "ok", raw: str | None = None
) -> DescribedSticker:
    texts = {"content": content, "details": details}
    place = {"id": "a.png", "image_sha256": None, "path": "a.png", "split": "train", "label": None}
    stop, tokens = ("stop", 20) if status == "ok" else ("length", 80)
    return DescribedSticker(
        **place,
        label_name=label,
        texts=texts,
        status=status,
        finish_reason=stop,
        prompt_tokens=10,
        output_tokens=tokens,
        raw=raw,
    )


def test_counts_are_those_made_by_hand() -> None:
    stickers = [
        sticker("fear", "a cat runs", "a fearful cat"),
        sticker("anger", "a cat runs", "the fear of it"),
        sticker("anger", "一只猫"),
        sticker("fear", "", status="failed", raw="I'm sorry, I cannot assist with that."),
    ]
    features = np.ones((4, 2, 3), dtype=np.float32)
    found = asdict(count_texts(stickers, features, ("content", "details"), "en"))
    views = found.pop("views")
    assert found.pop("finish_reasons") == {"stop": 3, "length": 1}
    assert found == pytest.approx(
        {
            "rows": 4,
            "ok": 3,
            "ok_share": 0.75,
            "prompt_tokens": 10,
            "output_tokens": 35,
            "words": (6 + 7 + 3) / 3,
            "distinct": 1,
            # {a, cat} of {a, cat, runs, fearful}; nothing of seven.
            "overlap": (2 / 4 + 0) / 2,
            "refusals": 0.25,
            "wrong_language": 1 / 3,
            "own_label": 1 / 3,
            "any_label": 2 / 3,
            "cosine": 1,
        }
    )
    assert views["content"] == pytest.approx(
        {
            "filled": 0.75,
            "words": 3,
            "distinct": 2 / 3,
            "distinct_1": 6 / 9,
            "distinct_2": 4 / 6,
            "cosine": 1,
            "overlap": 0.25,
            "refusals": 0,
            "wrong_language": 1 / 3,
            "own_label": 0,
            "any_label": 0,
        }
    )
    assert views["details"]["own_label"] == 0.5 and views["details"]["any_label"] == 1


def test_mean_cosine_is_that_over_all_pairs() -> None:
    vectors = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    vectors[4] = 0
    unit = [v / np.linalg.norm(v) for i, v in enumerate(vectors) if i != 4]
    pairs = [float(a @ b) for i, a in enumerate(unit) for b in unit[:i]]
    assert mean_cosine(vectors) == pytest.approx(np.mean(pairs), abs=1e-6)
    assert mean_cosine(vectors[4:6]) is None
