"""What a run came to is said in time: no first answer usable, no description at all, many failures."""

import json

import pytest
from describe_bench import KnownEngine, config, make_corpus, rows, run
from trial_bench import Tellers, attempt, write_pack

from mghft.pipeline.describe.outcome import judge_run
from mghft.pipeline.engines.base import Response
from mghft.pipeline.errors import NothingDescribedError
from mghft.pipeline.runs.status import run_status


@pytest.fixture
def card(tmp_path):
    return make_corpus(tmp_path / "data", 60)


def number(request):
    return int(request.key.sticker_id[-8:-4])


def empty(request, _text):
    return Response(request.key, "", "length", 900, 320)


def test_a_run_whose_first_twenty_answers_are_unusable_stops_with_the_reason(card, tmp_path):
    engine = KnownEngine(empty)
    with pytest.raises(NothingDescribedError) as error:
        run(config(card, tmp_path / "out"), engine)
    assert "all of the first 20 answers are unusable, because: the answer was cut at the token limit" in str(
        error.value
    )
    assert "--no-early-stop" in str(error.value)
    assert error.value.exit_code == 1
    # What was paid for is kept: nothing is lost, and nothing is asked twice.
    assert len(rows(tmp_path / "out")) == 20
    assert engine.requests == 20


@pytest.mark.parametrize("prompt", ["multiview", "per-view"])
def test_no_more_than_twenty_are_paid_for(card, tmp_path, prompt):
    """However many requests an engine would like to have in work."""

    class Wide(KnownEngine):
        capacity = 200

    engine = Wide(empty)
    with pytest.raises(NothingDescribedError):
        run(config(card, tmp_path / "out", prompt=prompt, window=64), engine)
    assert engine.requests == 20 * (4 if prompt == "per-view" else 1)


def test_a_wide_engine_is_filled_after_the_first_usable_answer(card, tmp_path):
    most = []

    class Wide(KnownEngine):
        capacity = 200

        def collect(self):
            most.append(len(self.waiting))
            return super().collect()

    stats = run(config(card, tmp_path / "out", window=64), Wide())
    assert stats["ok"] == 60
    assert most[0] == 20
    assert max(most) > 20


def test_the_next_start_goes_on_from_there(card, tmp_path):
    with pytest.raises(NothingDescribedError):
        run(config(card, tmp_path / "out"), KnownEngine(empty))
    engine = KnownEngine()
    stats = run(config(card, tmp_path / "out", retry_failed=True), engine)
    assert (stats["ok"], stats["failed"], engine.requests) == (60, 0, 60)


def test_no_early_stop_goes_on(card, tmp_path):
    stats = run(config(card, tmp_path / "out", early_stop=False), KnownEngine(empty))
    assert (stats["ok"], stats["failed"]) == (0, 60)
    with pytest.raises(
        NothingDescribedError, match="none of 60 stickers was described, because: the answer was cut"
    ):
        judge_run(stats, config(card, tmp_path / "out").run)


def test_one_usable_answer_among_the_first_is_enough(card, tmp_path):
    engine = KnownEngine(lambda request, text: text if number(request) == 11 else empty(request, text))
    stats = run(config(card, tmp_path / "out"), engine)
    assert (stats["ok"], stats["failed"]) == (1, 59)


def test_a_run_that_has_good_rows_does_not_stop_at_bad_ones(card, tmp_path):
    run(config(card, tmp_path / "out", limit=5))
    stats = run(config(card, tmp_path / "out"), KnownEngine(empty))
    assert (stats["ok"], stats["failed"]) == (5, 55)


def test_files_that_are_no_images_were_not_answered(card, tmp_path):
    """Thirty bad files at the head of a corpus say nothing about the model."""
    for one in range(30):
        (card.parent / "images" / f"{one:04d}.png").write_bytes(b"no image")
    stats = run(config(card, tmp_path / "out"))
    assert (stats["ok"], stats["failed"]) == (30, 30)


def test_a_share_of_failures_above_the_limit_is_in_the_statistics(card, tmp_path):
    engine = KnownEngine(lambda request, text: "no JSON" if number(request) < 9 else text)
    stats = run(config(card, tmp_path / "out"), engine)
    words = "9 of 60 stickers failed (15.0 %), most often: the answer is no valid JSON"
    assert any(warning.startswith(words) for warning in stats["warnings"])
    assert any(
        w.startswith(words) for w in json.loads((tmp_path / "out" / "stats.json").read_text())["warnings"]
    )
    assert any(warning.startswith(words) for warning in run_status(tmp_path / "out")["warnings"])
    options = config(card, tmp_path / "out").run
    assert judge_run(stats, options).startswith(words)
    assert judge_run(stats, options.model_copy(update={"failed_limit": 0.15})) is None


def test_a_few_failures_are_no_news(card, tmp_path):
    engine = KnownEngine(lambda request, text: "no JSON" if number(request) < 6 else text)
    stats = run(config(card, tmp_path / "out"), engine)
    assert [one for one in stats["warnings"] if "stand-in" not in one] == []
    assert judge_run(stats, config(card, tmp_path / "out").run) is None


def test_a_dry_run_without_a_description_says_the_reason(card, tmp_path):
    with pytest.raises(
        NothingDescribedError, match="none of 60 stickers was described, because: the answer was cut"
    ):
        run(config(card, tmp_path / "out", dry_run=True), KnownEngine(empty))
    for path in (card.parent / "images").iterdir():
        path.unlink()
    with pytest.raises(NothingDescribedError, match="because: the file is missing"):
        run(config(card, tmp_path / "out", dry_run=True))


def test_a_dry_run_names_what_failed(card, tmp_path):
    engine = KnownEngine(lambda request, text: "no JSON" if number(request) < 3 else text)
    facts = run(config(card, tmp_path / "out", dry_run=True), engine)
    assert facts["failed_of_tried"] == sum(facts["failures"].values()) == 3


def test_an_odd_end_is_named_in_the_row(card, tmp_path):
    """A whole object is an answer whatever the end is called; half of one is not."""

    def odd(request, text):
        cut = text if number(request) % 2 else text[:50]
        return Response(request.key, cut, "sudden_idea", 1, 1)

    run(config(card, tmp_path / "out"), KnownEngine(odd))
    found = rows(tmp_path / "out")
    assert sum(row["status"] == "ok" for row in found.values()) == 30
    errors = {row["error"] for row in found.values() if row["status"] == "failed"}
    assert all(error.endswith("(the answer ended with 'sudden_idea')") for error in errors)


@pytest.mark.parametrize(
    ("reason", "status"), [("end_turn", "ok"), ("STOP", "ok"), ("sudden_idea", "failed")]
)
def test_bare_words_with_an_odd_end_may_be_cut(card, tmp_path, reason, status):
    engine = KnownEngine(lambda request, _text: Response(request.key, "A cat waves", reason, 1, 1))
    run(config(card, tmp_path / "out", prompt="per-view", limit=4), engine)
    for row in rows(tmp_path / "out").values():
        assert row["status"] == status
        assert (
            status == "ok" or row["error"] == "the answer for content ended with 'sudden_idea' and may be cut"
        )


def test_a_refusal_is_no_view(card, tmp_path):
    def declines(request, _text):
        words = "I'm sorry, I can't assist with that request." if request.key.view == "style" else "A cat."
        return Response(request.key, words, "stop", 1, 1)

    run(config(card, tmp_path / "out", prompt="per-view", limit=4), KnownEngine(declines))
    for row in rows(tmp_path / "out").values():
        assert row["status"] == "failed"
        assert row["error"] == "the model refused: I'm sorry, I can't assist with that request."


def test_a_trial_stops_at_a_prompt_without_a_usable_answer(card, tmp_path):
    good, bad = write_pack(tmp_path, "alpha"), write_pack(tmp_path, "beta")
    engine = Tellers(lambda _number, prompt, views: views if prompt == "alpha" else "no JSON")
    with pytest.raises(NothingDescribedError, match="the first 20 answers are unusable"):
        attempt(card, tmp_path / "tries", good, bad, engine=engine, per_class=15)
    assert sum(prompt == "beta" for prompt, _ in engine.asked) == 20
