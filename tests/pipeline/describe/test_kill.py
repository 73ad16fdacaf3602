"""A describe run is killed at every kind of moment and started again: as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from describe_bench import make_corpus
from kill_moments import MOMENTS, SHARD_ROWS, STICKERS

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.runs.shards import read_descriptions
from mghft.pipeline.runs.status import verify_run

HERE = Path(__file__).parents[1] / "support"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), str(HERE)])}

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"), STICKERS)


@pytest.fixture(scope="module", params=["known", "vllm"])
def runs(request, card, tmp_path_factory):
    """Every moment's runs, with the engine whose answers are known and with the stand-in under vLLM."""
    command = [sys.executable, HERE / "kill_child.py", request.param, card, tmp_path_factory.mktemp("runs")]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def rows(run):
    return {row["sticker_id"]: row for row in read_descriptions(run["out"]).to_pylist()}


def check(card, run, undisturbed):
    """Same rows, each sticker once, nothing left over."""
    out = Path(run["out"])
    assert run["finished"] == 0
    assert rows(run) == rows(undisturbed)
    assert verify_run(out, load_corpus(load_card(card), card.parent)) == []
    assert not [path.name for path in out.iterdir() if path.suffix in (".tmp", ".rows")]
    assert json.loads((out / "stats.json").read_text())["rows"] == STICKERS


def test_there_are_enough_moments():
    assert len(MOMENTS) >= 20


def test_the_undisturbed_run_has_every_sticker(runs):
    assert len(rows(runs["undisturbed"])) == STICKERS
    assert runs["undisturbed"]["tokens"] == sum(
        row["output_tokens"] for row in rows(runs["undisturbed"]).values()
    )


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_started_again_it_ends_as_if_undisturbed(card, runs, moment):
    assert runs[moment]["killed"] == [-signal.SIGKILL]
    check(card, runs[moment], runs["undisturbed"])


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_costs_at_most_the_tokens_of_one_shard(runs, moment):
    one_pass = runs["undisturbed"]["tokens"]
    assert one_pass <= runs[moment]["tokens"] <= one_pass * (1 + SHARD_ROWS / STICKERS)


def test_killed_at_many_moments_of_one_run(card, runs):
    """Also while what the run before had left is taken up."""
    assert runs["many"]["killed"].count(-signal.SIGKILL) >= 5
    check(card, runs["many"], runs["undisturbed"])
