"""Zero-shot answers under the real vLLM with the shipped stand-in: its numbers, and a run really killed."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from describe_bench import rows
from zero_shot_bench import LABELS, make_corpus

from mghft.pipeline.predictions import read_predictions
from mghft.pipeline.runs.shards import read_descriptions, shard_paths
from mghft.pipeline.runs.status import verify_run

HERE = Path(__file__).parents[1] / "support"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), str(HERE)])}
STICKERS = 60

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def answers():
    command = [sys.executable, HERE / "zero_shot_vllm_child.py"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_log_probabilities_are_those_of_transformers(answers):
    assert len(answers["expected"]) == 4 * 9
    assert answers["logprobs"] == pytest.approx(answers["expected"], abs=2e-4)


def test_they_differ_from_picture_to_picture_and_not_from_batch_to_batch(answers):
    letters = [[answers["logprobs"][f"{n} {letter}"] for letter in "ABCDEFG"] for n in range(4)]
    assert len({tuple(row) for row in letters}) == 4
    assert list(answers["alone"].values()) == pytest.approx(letters[2], abs=2e-4)


def test_a_choice_is_one_of_the_words_and_a_free_reply_is_not(answers):
    words = {"anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"}
    assert set(answers["choices"]) <= words
    assert not set(answers["free"]) & words
    assert answers["tokens"] == [1, 24], "one token for the letters, the limit for the free reply"


def test_a_word_that_is_no_token_is_refused(answers):
    assert answers["lacking"] == (
        "the engine refused the request: the model has no single token for 'no such token'"
    )


def test_kill_9_of_the_command_loses_and_repeats_nothing(tmp_path):
    card = make_corpus(tmp_path / "data", STICKERS)
    out, selected = tmp_path / "run", 40
    settings = ["run.shard_rows=4", "run.window=4", "engine.vllm.max_num_seqs=8", "run.decode_workers=1"]
    command = [sys.executable, "-m", "mghft", "zero-shot", card, "--data", card.parent, "--out", out]
    command += [part for setting in settings for part in ("--set", setting)]
    with (tmp_path / "log").open("wb") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, env=ENVIRONMENT)
        deadline = time.monotonic() + 120
        while not out.exists() or len(shard_paths(out)) < 3:
            assert child.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        child.wait()
    kept = {row["sticker_id"]: row for row in read_descriptions(out).to_pylist()}
    assert 12 <= len(kept) < selected
    again = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert verify_run(out) == []
    found = rows(out)
    assert len(found) == selected
    assert {name: found[name] for name in kept} == kept
    stats = json.loads((out / "stats.json").read_text())
    assert stats["resumed"] >= len(kept)
    assert stats["resumed"] + stats["described_now"] == selected
    _check_report(out, again.stdout)


def _check_report(out, said):
    """Systems with and without text; the stand-in never names a label in a free reply."""
    report = json.loads((out / "zero_shot.json").read_text())
    named = {line["system"]: line for line in report["splits"]["test"]}
    protocols = ("choice", "score", "calibrated", "official")
    assert list(named) == [
        f"{name}: {p}" for name in ("tiny-llava", "tiny-llava without text") for p in protocols
    ]
    for line in named.values():
        assert sum(line["predicted"].values()) + line["non_answers"] == line["stickers"] == 20
    assert named["tiny-llava: choice"]["non_answers"] == named["tiny-llava: score"]["non_answers"] == 0
    assert named["tiny-llava: official"]["non_answers"] == 20
    # It reads no letters, so the orders decide.
    assert named["tiny-llava: score"]["changes_under_rotation"] == 1.0
    assert report["facts"]["engine"].startswith("vllm ")
    for one in read_predictions(out / "predictions.parquet"):
        assert one.labels == LABELS
        assert all(math.isclose(sum(row), 1.0) for row in one.probabilities)
    assert "tiny-llava without text: official" in said
    assert f"report: {out / 'zero_shot.md'}" in said
