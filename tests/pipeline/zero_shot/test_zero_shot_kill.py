"""A zero-shot run killed with SIGKILL and started again, as a process of its own."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from describe_bench import rows
from zero_shot_bench import Opinionated, config, make_corpus, run

from mghft.pipeline.runs.journal import journal_paths, read_journal
from mghft.pipeline.runs.manifest import read_manifest
from mghft.pipeline.runs.shards import read_descriptions, shard_paths
from mghft.pipeline.runs.status import verify_run

HERE = Path(__file__).parents[1] / "support"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), str(HERE)])}


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus") / "data", 36)


@pytest.fixture(scope="module")
def undisturbed(card, tmp_path_factory):
    return run(config(card, tmp_path_factory.mktemp("undisturbed")), Opinionated())


def child(card, out, log, *last):
    command = [sys.executable, HERE / "zero_shot_bench.py", card, out, log, *map(str, last)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def finished(out):
    """Stickers whose rows are on the disk."""
    fingerprint = read_manifest(out)["fingerprint"]
    kept = {row["sticker_id"] for path in journal_paths(out) for row in read_journal(path, fingerprint)}
    return kept | set(read_descriptions(out)["sticker_id"].to_pylist() if shard_paths(out) else ())


# Of 180 requests: in the first shard, behind it, near the end.
@pytest.mark.parametrize("last", [17, 75, 160])
def test_a_killed_run_goes_on_and_ends_as_if_undisturbed(card, undisturbed, tmp_path, last):
    out, log = tmp_path / "run", tmp_path / "log"
    killed = child(card, out, log, last)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    kept = finished(out)
    assert 0 < len(kept) < 24
    assert not (out / "zero_shot.json").exists()
    first = Counter(log.read_text().splitlines())
    assert first.total() == last
    again = child(card, out, log)
    assert again.returncode == 0, again.stderr
    asked = Counter(log.read_text().splitlines())
    assert {line: asked[line] for line in asked if line.split()[0] in kept} == {
        line: 1 for line in asked if line.split()[0] in kept
    }, "what was finished is not asked again"
    # No more than a window of stickers is asked about twice.
    assert len({line.split()[0] for line, count in asked.items() if count > 1}) <= 3
    assert int(again.stdout) == 24 - len(kept)
    assert verify_run(out) == []
    assert rows(out) == rows(undisturbed.report.folder)
    for name in ("zero_shot.md", "predictions.parquet"):
        ours, theirs = (folder / name for folder in (out, undisturbed.report.folder))
        if name == "predictions.parquet":
            assert ours.read_bytes() == theirs.read_bytes()
        else:
            assert without_speed(ours) == without_speed(theirs)


def without_speed(path):
    return [line for line in path.read_text().splitlines() if "seconds per sticker" not in line]
