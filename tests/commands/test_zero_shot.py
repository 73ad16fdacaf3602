"""The command zero-shot against a server in this process: what it asks, prints, writes, and refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from bad_server import BadServer, Seen, Step, refusal
from zero_shot_bench import LABELS, make_corpus

from mghft.commands import zero_shot as command
from mghft.options import Option
from mghft.pipeline.predictions import read_predictions
from mghft.pipeline.zero_shot.config import ZeroShotConfig

COUNT = 24


@pytest.fixture
def card(tmp_path: Path) -> Path:
    return make_corpus(tmp_path / "data", COUNT)


def answer(seen: Seen) -> Step:
    """A server that sees anger in dark pictures and joy in others, and likes the letter B."""
    image = seen.image
    assert image is not None
    label = LABELS[0 if image.getpixel((0, 0))[0] < COUNT // 2 else 2]
    if "response_format" in seen.body:
        return Step(message={"content": json.dumps({"answer": label})})
    if "logprobs" not in seen.body:
        return Step(message={"content": f"It is {label}."})
    words: str = seen.parts[-1]["text"]
    (letter,) = [line[0] for line in words.splitlines() if line.endswith(f". {label}")]
    # The letter C is told only where it is the answer.
    shares = {"A": 0.1, "B": 0.2}
    shares[letter] = shares.get(letter, 0.0) + 0.5
    top = [{"token": f" {token}", "logprob": math.log(share)} for token, share in shares.items()]
    logprobs = {"content": [{**top[0], "top_logprobs": top}]}
    choice = {"message": {"content": "A"}, "finish_reason": "length", "logprobs": logprobs}
    return Step(body={"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 1}})


def arguments(card: Path, server: BadServer, out: Path, *more: object) -> list[object]:
    return [
        *("zero-shot", card, "--data", card.parent, "--out", out, "--engine", "openai", "--model", "painter"),
        *("--base-url", server.url, *more),
    ]


def test_a_run_on_a_server_is_asked_judged_and_printed(mghft: Any, card: Path, tmp_path: Path) -> None:
    with BadServer(lambda number, seen: answer(seen)) as server:
        done = mghft(*arguments(card, server, tmp_path / "out"))
    assert done.code == 0, done.err
    # 16 stickers, every other one with words: three orders, a choice and the official prompt.
    assert len(server.seen) == 24 * 5
    lines = [line.split("  ")[0].strip() for line in done.out.splitlines()]
    protocols = ("choice", "score", "calibrated", "official")
    tested = lines[lines.index("test, 8 stickers") :]
    for name in (f"{model}: {p}" for model in ("painter", "painter without text") for p in protocols):
        assert name in tested
    assert "note: the official prompt names the labels of this corpus" in done.out
    assert "of the letters' log-probabilities in test were not among the likeliest" in done.out
    found = {
        (one.system, one.split): one for one in read_predictions(tmp_path / "out" / "predictions.parquet")
    }
    for protocol in ("choice", "score", "official"):
        one = found[f"painter: {protocol}", "test"]
        said = [0 if int(name[7:10]) < COUNT // 2 else 2 for name in one.ids]
        assert one.probabilities.argmax(axis=1).tolist() == said


def test_one_refused_sticker_is_counted_and_the_run_goes_on(mghft: Any, card: Path, tmp_path: Path) -> None:
    def script(_number: int, seen: Seen) -> Step:
        image = seen.image
        assert image is not None
        return refusal(400, "flagged") if image.getpixel((0, 0))[0] == 4 else answer(seen)

    with BadServer(script) as server:
        done = mghft(*arguments(card, server, tmp_path / "out", "--text", "without"))
        assert done.code == 0, done.err
        assert "failed: 1" in done.out
        assert "the server refused the request: 400 flagged: 1" in done.out
        report = json.loads((tmp_path / "out" / "zero_shot.json").read_text())
        assert {line["non_answers"] for line in report["splits"]["test"]} == {1}
        before = len(server.seen)
        again = mghft(*arguments(card, server, tmp_path / "out", "--text", "without"))
        assert (again.code, len(server.seen)) == (0, before)
        assert again.out == done.out, "judged again from the same rows"


def test_compare_reads_the_predictions(mghft: Any, card: Path, tmp_path: Path) -> None:
    with BadServer(lambda number, seen: answer(seen)) as server:
        assert mghft(*arguments(card, server, tmp_path / "out", "--text", "with", "--name", "P")).code == 0
    done = mghft("compare", tmp_path / "out" / "predictions.parquet", "--out", tmp_path / "compared")
    assert done.code == 0, done.err
    assert "P: official" in done.out


def test_a_dry_run_asks_about_a_handful_and_keeps_nothing(mghft: Any, card: Path, tmp_path: Path) -> None:
    with BadServer(lambda number, seen: answer(seen)) as server:
        done = mghft(*arguments(card, server, tmp_path / "out", "--dry-run", "--price-input", 2))
    assert done.code == 0, done.err
    assert "left: 16" in done.out
    assert "cost: " in done.out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (
            ("--text", "maybe"),
            "--text is 'maybe': choose one of both, with, without",
        ),
        (("--set", "promt=1"), "the zero-shot configuration has no field 'promt'"),
        (("--split", "tset"), "has no sticker in the split 'tset'"),
        (("--model", "nowhere/nothing", "--set", "run.reuse=[x]"), "a zero-shot run knows no run.reuse"),
    ],
)
def test_slips_are_one_sentence(
    mghft: Any, card: Path, tmp_path: Path, more: tuple[object, ...], sentence: str
) -> None:
    done = mghft("zero-shot", card, "--data", card.parent, "--out", tmp_path / "out", *more)
    assert done.code == 2
    assert sentence in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_folder_of_a_describe_run_is_refused(mghft: Any, squares: Path, described: Path) -> None:
    before = sorted(path.name for path in described.iterdir())
    done = mghft("zero-shot", "emoji", "--data", squares, "--out", described)
    assert done.code == 2
    assert "holds a run of another configuration" in done.err
    assert "prompt.name is 'multiview' there and 'zero-shot' here" in done.err
    assert {name for name in before if not name.startswith(".")} <= {p.name for p in described.iterdir()}


def test_the_options_of_the_command_fill_fields_that_exist() -> None:
    groups = [vars(command)[name] for name in ("_OWN", "_ASKING", "_KEEPING")]
    own = [option for group in groups for option in group if isinstance(option, Option)]
    assert len(own) == 9
    for option in own:
        model: Any = ZeroShotConfig
        for step in (option.field or "").split("."):
            assert step in model.model_fields
            model = model.model_fields[step].annotation
