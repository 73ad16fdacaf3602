"""Runs written by the code of before the rooms (old_runs/README.md) are read, checked and gone on with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from describe_bench import KnownEngine
from safetensors.torch import load_file

from mghft.model import MGHFT
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.sticker import Corpus
from mghft.pipeline.describe.config import DescribeConfig
from mghft.pipeline.describe.run import describe
from mghft.pipeline.runs.shards import read_descriptions
from mghft.pipeline.runs.status import run_status, verify_run
from mghft.pipeline.trials.history import read_history
from mghft.pipeline.trials.run import run_trial
from mghft.train.config import build_config
from mghft.train.evaluation.evaluate import evaluate
from mghft.train.evaluation.trained_runs import EvalConfig
from mghft.train.runs.files import read_metrics
from mghft.train.trainer.trainer import train
from mghft.train.trainer.warm_start import load_initial

# Of the manifest that today's code must still make for the model of then, its pack and the squares.
FINGERPRINT = "8f05c3c4d79dd49e9201305823f51998c0e04691b976ad75b031eb3175b8a8c4"
CLOCK = {"stickers_per_second", "seconds", "seconds_waiting", "seconds_validation", "memory_mb"}


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, former_stand_in: None) -> Path:
    """A copy of the old runs; their paths are relative to it."""
    shutil.copytree(Path(__file__).parent / "old_runs", tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    return tmp_path / "old"


def squares() -> Corpus:
    return load_corpus(load_card("squares.md"), "data")


def config(out: str, **fields: Any) -> DescribeConfig:
    base = {"card": "squares.md", "data": Path("data"), "out": Path(out), "shard_rows": 16}
    return DescribeConfig(**{**base, "decode_workers": 0, **fields})


def go_on(settings: DescribeConfig) -> tuple[dict[str, Any], int]:
    """Statistics of the run, and how many stickers were asked about."""
    engine = KnownEngine()
    return describe(settings, start_engine=lambda *_: engine), engine.requests


@pytest.mark.parametrize(
    ("name", "ok", "failed"),
    [("described", 23, 1), ("embedded", 24, 0), ("shared", 24, 0), ("imported", 23, 1)],
)
def test_run_is_whole(old: Path, name: str, ok: int, failed: int) -> None:
    status = run_status(Path(name))
    assert (status["ok"], status["failed"]) == (ok, failed)
    assert verify_run(Path(name), squares()) == []
    assert read_descriptions(name).num_rows == 24


@pytest.mark.parametrize("fields", [{"out": "described"}, {"out": "embedded", "embed_images": True}])
def test_finished_run_is_the_same_run_to_todays_code(old: Path, fields: dict[str, Any]) -> None:
    before = {path: path.read_bytes() for path in (old / fields["out"]).glob("*.parquet")}
    stats, asked = go_on(config(**fields))
    assert (stats["rows"], asked) == (24, 0)
    assert {path: path.read_bytes() for path in before} == before


def test_fingerprint_of_a_manifest_is_what_it_was(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It was begun when the format of the checkpoint was taken everywhere, as it is on a GPU.
    monkeypatch.setattr("mghft.pipeline.engines.factory.fast_format", lambda _: "auto")
    go_on(config("new"))
    manifest = json.loads(Path("new/manifest.json").read_text())
    assert manifest == json.loads(Path("described/manifest.json").read_text())
    assert manifest["fingerprint"] == FINGERPRINT


def test_run_of_another_stand_in_is_refused(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(old)
    with pytest.raises(ValueError, match=r"another configuration .model\.weights_sha256 is '87498e60"):
        go_on(config("unfinished"))
    assert run_status(Path("unfinished"))["rows"] == 16


def test_shares_of_a_run_are_divided_as_they_were(old: Path) -> None:
    for share in ("1/2", "2/2"):
        assert go_on(config("shared", part=share))[1] == 0


def test_journal_of_a_killed_run_is_taken_up(old: Path) -> None:
    stats, asked = go_on(config("unfinished"))
    assert (stats["rows"], stats["resumed"], stats["recovered"], asked) == (24, 21, 5, 3)
    assert verify_run(Path("unfinished"), squares()) == []


def test_rows_are_reused(old: Path) -> None:
    stats, asked = go_on(config("new", reuse=(Path("described"),)))
    assert (stats["reused"], asked) == (23, 1)
    assert go_on(config("more", reuse=(Path("tries"),)))[1] == 24 - 6


def test_trials_are_listed_with_their_scores_and_gone_on_with(old: Path) -> None:
    entries, notes = read_history(Path("tries"))
    assert notes == []
    assert [(entry.pack.title, entry.manifest.subset.stickers) for entry in entries] == [
        ("multiview", 6),
        ("caption", 6),
    ]
    assert all(entry.score is not None for entry in entries)
    settings = config("tries", per_class=2, where=("split=train",))
    engine = KnownEngine()
    done = run_trial(settings, ["multiview", "caption"], start_engine=lambda *_: engine)
    assert (done.folder, engine.requests) == (Path("tries/try-001"), 0)


def test_split_file_is_read(old: Path) -> None:
    corpus = load_corpus(load_card("squares.md@split.csv"), "data")
    assert [len(corpus.split(name)) for name in ("train", "validation", "test")] == [13, 7, 4]


@pytest.mark.parametrize("name", ["trained", "trained-embedded", "tuned"])
def test_trained_weights_are_loaded_and_judged(old: Path, name: str) -> None:
    model = MGHFT.from_pretrained(Path(name) / "best")
    assert model.config.num_classes == 3
    result = evaluate(EvalConfig(runs=(Path(name),), out=Path("report"), bootstrap_rounds=100))
    metrics = result.splits["validation"]["all"][result.main]
    kept = [line for line in read_metrics(Path(name)) if line["best"]][-1]
    assert metrics.accuracy == kept["validation_accuracy"]
    assert metrics.f1_macro == pytest.approx(kept["validation_f1_macro"])


def training(name: str, **changes: Any) -> dict[str, Any]:
    fields = json.loads((Path(name) / "config.json").read_text())["config"]
    return {**fields, "progress": False, **changes}


def test_finished_training_is_left_as_it_is(old: Path) -> None:
    before = Path("trained/metrics.jsonl").read_bytes()
    train(build_config(training("trained")))
    assert Path("trained/metrics.jsonl").read_bytes() == before


def test_killed_training_goes_on_to_what_it_would_have_been(old: Path) -> None:
    train(build_config(training("unfinished-training", resume=True)))
    lines, wanted = read_metrics(Path("unfinished-training")), read_metrics(Path("trained"))
    assert [line["epoch"] for line in lines] == [1, 2]
    for line, other in zip(lines, wanted, strict=True):
        for name in other.keys() - CLOCK:
            # Another processor sums in another order; AdamW makes that visible.
            assert line[name] == pytest.approx(other[name], rel=1e-2, abs=1e-6), name


def use_trackio(run: str) -> None:
    """Let the configuration of a run name trackio, as those of before could."""
    file = Path(run) / "config.json"
    resolved = json.loads(file.read_text())
    resolved["config"]["tracker"] = "trackio"
    file.write_text(json.dumps(resolved))


def test_run_with_a_tracker_of_before_is_judged_and_gone_on_with(old: Path) -> None:
    use_trackio("trained")
    result = evaluate(EvalConfig(runs=(Path("trained"),), out=Path("report"), bootstrap_rounds=100))
    assert result.splits["validation"]["all"][result.main].count == 6
    use_trackio("unfinished-training")
    train(build_config(training("unfinished-training", resume=True, tracker=None)))
    assert [line["epoch"] for line in read_metrics(Path("unfinished-training"))] == [1, 2]
    with pytest.raises(ValueError, match="wrong at tracker: must be tensorboard or wandb, not 'trackio'"):
        build_config(training("trained", tracker="trackio"))


def test_training_starts_from_old_weights(old: Path) -> None:
    config = MGHFT.from_pretrained(Path("trained/best")).config
    model = MGHFT(config)
    sentence = load_initial(model, "trained", ("cold", "warm", "green"), "encoder")
    count = len(load_file("trained/best/model.safetensors"))
    assert sentence == f"started from trained: {count} of {count} tensors; nothing was left out"
