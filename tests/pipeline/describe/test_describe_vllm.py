"""The describe run under the real vLLM with the shipped stand-in: real processes, really killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from describe_bench import make_corpus

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.runs.shards import read_descriptions, shard_paths
from mghft.pipeline.runs.status import verify_run
from mghft.pipeline.views import VIEWS

MGHFT = Path(sys.executable).with_name("mghft")
STICKERS = 120


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"), STICKERS)


def command(card, out):
    options = tuple(f"--{name}" for name in ("data", "out", "config"))
    settings = card.parent / "describe.yaml"
    settings.write_text("{shard_rows: 8, window: 8, vllm: {max_num_seqs: 16}}", encoding="utf-8")
    values = (card.parent, out, settings)
    return [MGHFT, "describe", card, *(part for pair in zip(options, values, strict=True) for part in pair)]


@pytest.mark.timeout(600)
def test_kill_9_at_three_random_moments_loses_and_repeats_nothing(card, tmp_path):
    out = tmp_path / "run"
    for shards_before_kill in sorted(random.sample(range(1, 12), 3)):
        with (tmp_path / "log").open("ab") as log:
            child = subprocess.Popen(command(card, out), stdout=log, stderr=log)
            deadline = time.monotonic() + 120
            while not out.exists() or len(shard_paths(out)) < shards_before_kill:
                assert child.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            child.send_signal(signal.SIGKILL)
            child.wait()
        assert len(read_descriptions(out)) < STICKERS
    left = STICKERS - len(read_descriptions(out))
    subprocess.run(command(card, out), check=True, capture_output=True)
    assert verify_run(out, load_corpus(load_card(card), card.parent)) == []
    stats = json.loads((out / "stats.json").read_text())
    assert stats["described_now"] == left
    assert stats["rows"] == STICKERS
    assert stats["ok"] >= 0.99 * STICKERS


@pytest.fixture(scope="module")
def answers(card):
    child = Path(__file__).parents[1] / "support" / "vllm_child.py"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, child, card.parent], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_answers_are_json_with_the_four_views(answers):
    for text in answers["together"].values():
        assert list(json.loads(text)) == list(VIEWS)


def test_greedy_text_does_not_depend_on_the_batch(answers):
    assert answers["together"] == answers["alone"]


def test_a_refused_request_costs_one_answer(answers):
    assert answers["mixed"]["bad"].startswith("the engine refused the request")
    assert answers["mixed_texts"]["1"] == answers["alone"]["1"]
    assert answers["mixed_texts"]["2"] == answers["alone"]["2"]


def test_one_view_can_be_asked_alone(answers):
    assert list(json.loads(answers["one_view"])) == ["style"]
    assert answers["tokens"] > 0
