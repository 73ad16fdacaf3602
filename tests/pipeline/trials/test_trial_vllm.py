"""A trial under the real vLLM with the shipped stand-in, and the run that takes its rows over."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from describe_bench import make_corpus

from mghft.pipeline.runs.shards import read_descriptions
from mghft.pipeline.views import VIEWS

HERE = Path(__file__).parents[1] / "support"


@pytest.mark.timeout(600)
def test_three_prompts_one_start_and_a_run_that_reuses_one_of_them(tmp_path):
    card = make_corpus(tmp_path / "data", 20)
    environment = {**os.environ, "PYTHONPATH": f"{HERE.parents[2]}:{HERE}"}
    child = subprocess.run(
        [sys.executable, HERE / "trial_vllm_child.py", card, tmp_path / "tries"],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    found = json.loads(child.stdout.splitlines()[-1])
    assert found["starts"] == [True], "one engine, which keeps images for the pack that asks by view"
    assert len(found["stickers"]) == 12
    for rows in found["rows"]:
        assert sorted(row["sticker_id"] for row in rows) == sorted(found["stickers"])
    assert [sum(row["status"] == "ok" for row in rows) for rows in found["rows"]] == [12, 12, 12]
    # One request with 49 + 6 tokens (four for the views) for the joint packs, four with one for the other.
    read = [sum(row["prompt_tokens"] for row in rows) for rows in found["rows"]]
    assert read == [12 * 55, 12 * 55, 12 * 4 * 52]
    assert Path(found["page"]).is_file()

    good = {row["sticker_id"]: row for row in found["rows"][1] if row["status"] == "ok"}
    (tmp_path / "ids.txt").write_text("\n".join(good))
    options = ["--data", card.parent, "--out", tmp_path / "run", "--ids", tmp_path / "ids.txt"]
    options += ["--prompt", "figure", "--reuse", tmp_path / "tries"]
    whole = subprocess.run(
        [sys.executable, "-m", "mghft", "describe", card, *options],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert whole.returncode == 0, whole.stderr
    stats = json.loads((tmp_path / "run" / "stats.json").read_text())
    assert (stats["rows"], stats["reused"], stats["described_now"]) == (len(good), len(good), 0)
    for row in read_descriptions(tmp_path / "run").to_pylist():
        assert [row[view] for view in VIEWS] == [good[row["sticker_id"]][view] for view in VIEWS]
