"""Selection looks at validation only; the evaluation adds up; the page is safe to open."""

from __future__ import annotations

import json
import os
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from squares import LABELS, World, metrics

from mghft.model import MGHFT
from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.runs.shards import write_shard
from mghft.pipeline.views import VIEWS
from mghft.train.data.descriptions import read_texts
from mghft.train.data.sampler import eval_transform
from mghft.train.data.splits import Split
from mghft.train.data.text_features import load_encoder
from mghft.train.evaluation.baselines import regression_baseline
from mghft.train.evaluation.evaluate import evaluate
from mghft.train.evaluation.report import select_stickers
from mghft.train.evaluation.split_metrics import subset_rows
from mghft.train.evaluation.trained_runs import EvalConfig, build_eval_config, open_runs
from mghft.train.runs.files import read_metrics
from mghft.train.trainer import loop
from mghft.train.trainer.trainer import train

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }}"


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, EvalConfig]:
    """One corpus with hostile texts, a run with and one without text, and their report."""
    world = World(tmp_path_factory.mktemp("judged"))
    rows = [
        {
            "sticker_id": row["path"],
            "path": row["path"],
            "split": row["split"],
            "status": "ok",
            "finish_reason": "stop",
            **dict.fromkeys(VIEWS, f"{HOSTILE} {row['label']}"),
        }
        for row in world.rows
    ]
    write_shard(world.runs / "descriptions-00000.parquet", rows, "test")
    with_text = train(world.config("with"))
    without = train(world.config("without", use_text=False, descriptions=None))
    config = EvalConfig(runs=(with_text, without), out=world.folder / "report", bootstrap_rounds=200)
    evaluate(config)
    return world, config


def test_test_split_is_never_read_while_training(world: World) -> None:
    for row in world.rows:
        if row["split"] == "test":
            (world.data / row["path"]).unlink()
    world.describe(absent=frozenset(row["path"] for row in world.rows if row["split"] == "test"))
    run = train(world.config("run"))
    assert (run / "best" / "model.safetensors").is_file()


def test_best_weights_are_those_of_the_best_validation_epoch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = np.array([number % 3 for number in range(9)])
    rights = iter([3, 8, 8, 5])

    def predict(*args: object, **kwargs: object) -> np.ndarray:
        guessed = truth.copy()
        guessed[next(rights) :] += 1
        # The third epoch is as accurate as the second and less sure of itself.
        return np.eye(3)[guessed % 3] * (0.9 if len(seen) == 1 else 0.5) + 0.05

    seen: list[int] = []
    original = loop.RunFolder.write_best

    def write_best(self: loop.RunFolder, model: Any, card: str, inference: Any) -> None:
        seen.append(len(read_metrics(self.path)) + 1)
        original(self, model, card, inference)

    monkeypatch.setattr(loop, "predict", predict)
    monkeypatch.setattr(loop.RunFolder, "write_best", write_best)
    run = train(world.config("run", epochs=4))
    assert seen == [1, 2]
    assert [line["best"] for line in metrics(run)] == [True, True, False, False]
    assert json.loads((run / "summary.json").read_text())["best_epoch"] == 2


def test_loss_that_is_not_finite_stops_with_the_ids(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Split.text_inputs

    def poisoned(*arguments: Any) -> dict[str, Any]:
        inputs = original(*arguments)
        return {**inputs, "text_features": inputs["text_features"] * float("nan")}

    monkeypatch.setattr(Split, "text_inputs", poisoned)
    with pytest.raises(FloatingPointError, match="the loss is nan at epoch 1, step 0"):
        train(world.config("run"))
    assert len(json.loads((world.folder / "run" / "bad_batch.json").read_text())["ids"]) == 6


def test_report_holds_figures_pictures_and_page(judged: tuple[World, EvalConfig]) -> None:
    _, config = judged
    names = {"report.json", "report.md", "index.html", "predictions.parquet"}
    names |= {"comparison.png", "confusion.png", "curves.png"}
    assert {path.name for path in config.out.iterdir()} == names
    assert (config.out / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_table_of_predictions_adds_up_to_the_figures(judged: tuple[World, EvalConfig]) -> None:
    _, config = judged
    report = json.loads((config.out / "report.json").read_text())
    rows = pq.read_table(config.out / "predictions.parquet").to_pylist()
    assert report["systems"] == [
        "majority",
        "text only",
        "MGHFT without text",
        "late fusion, mean",
        "late fusion, regression",
        "MGHFT",
    ]
    for split, count in (("validation", 9), ("test", 12)):
        for system in report["systems"]:
            mine = [row for row in rows if (row["split"], row["system"]) == (split, system)]
            figures = report["splits"][split]["all"][system]
            assert len(mine) == figures["count"] == np.sum(figures["confusion"]) == count
            answers = [max(LABELS, key=row["probabilities"].get) for row in mine]
            right = np.mean([row["label"] == answer for row, answer in zip(mine, answers, strict=True)])
            assert figures["accuracy"] == pytest.approx(right)
            assert all(sum(row["probabilities"].values()) == pytest.approx(1) for row in mine)
    subsets = report["splits"]["test"]
    assert subsets["seen"]["MGHFT"]["count"] + subsets["unseen"]["MGHFT"]["count"] == 12
    assert {row["subset"] for row in rows if row["split"] == "test"} == {"seen", "unseen"}
    assert {row["subset"] for row in rows if row["split"] == "validation"} == {None}


def test_labels_of_every_source_are_reported_apart() -> None:
    stickers = [
        Sticker(f"{number}", f"{number}", "test", 0, "warm", subset=subset, label_source=source)
        for number, (subset, source) in enumerate(
            [("seen", "hand"), ("unseen", "emotag"), ("seen", "emotag"), (None, None)]
        )
    ]
    split = Split(stickers, np.zeros(4, dtype=np.int64), None, None, None, None)  # type: ignore[arg-type]
    rows = {name: found.tolist() for name, found in subset_rows(split).items()}
    assert list(rows) == ["all", "seen", "unseen", "labels: emotag", "labels: hand"]
    assert rows["all"] == [True] * 4 and rows["seen"] == [True, False, True, False]
    assert rows["labels: emotag"] == [False, True, True, False]


def test_late_fusion_is_of_the_text_and_the_network_without_it(judged: tuple[World, EvalConfig]) -> None:
    world, config = judged
    rows = pq.read_table(config.out / "predictions.parquet").to_pylist()

    def probabilities(system: str, split: str) -> np.ndarray:
        found = {
            row["id"]: [row["probabilities"][label] for label in LABELS]
            for row in rows
            if (row["system"], row["split"]) == (system, split)
        }
        return np.array([found[name] for name in sorted(found)])

    both = (probabilities("text only", "test") + probabilities("MGHFT without text", "test")) / 2
    np.testing.assert_allclose(probabilities("late fusion, mean", "test"), both, atol=1e-6)
    # By hand: vectors of the network without text beside the text features, C by validation.
    run = next(run for run in open_runs(config.runs) if not run.config.use_text)
    model = MGHFT.from_pretrained(run.weights).eval()
    transform = eval_transform(model.config.image_size, run.config.augmentation)
    vectors: dict[str, list[np.ndarray]] = {}
    order: dict[str, list[str]] = {}
    for row in world.rows:
        with Image.open(world.data / row["path"]) as image, torch.no_grad():
            token = model(transform(image.convert("RGB")).unsqueeze(0)).visual_tokens[0, 0]
        vectors.setdefault(row["split"], []).append(token.numpy())
        order.setdefault(row["split"], []).append(row["path"])
    main = next(run for run in open_runs(config.runs) if run.config.use_text).config
    encoder = load_encoder(main.text_encoder, main.text_pooling, torch.device("cpu"))
    texts = read_texts(world.runs, VIEWS)
    features, labels = {}, {}
    for split, paths in order.items():
        described = texts.of([Sticker(path, path, split) for path in paths])
        flat = encoder.encode([text for views in described.texts for text in views])
        words = flat.reshape(len(paths), len(VIEWS), -1) * torch.from_numpy(described.mask)[..., None]
        features[split] = np.concatenate([words.flatten(1).numpy(), np.stack(vectors[split])], axis=1)
        labels[split] = np.array([LABELS.index(row["label"]) for row in world.rows if row["split"] == split])
    expected = regression_baseline(features, labels, 3).probabilities["test"]
    by_path = np.argsort(order["test"])
    np.testing.assert_allclose(probabilities("late fusion, regression", "test"), expected[by_path], atol=1e-3)


def test_late_fusion_can_be_left_out(judged: tuple[World, EvalConfig], tmp_path: Path) -> None:
    config = judged[1].model_copy(update={"late_fusion": False, "out": tmp_path / "report"})
    systems = evaluate(config).systems
    assert systems == ["majority", "text only", "MGHFT without text", "late fusion, mean", "MGHFT"]


def test_difference_is_that_of_the_accuracies(judged: tuple[World, EvalConfig]) -> None:
    report = json.loads((judged[1].out / "report.json").read_text())
    figures = report["splits"]["test"]["all"]
    for other, difference in report["differences"]["test"]["all"].items():
        expected = figures["MGHFT"]["accuracy"] - figures[other]["accuracy"]
        assert difference["accuracy_gain"] == pytest.approx(expected)


def test_page_shows_hostile_text_as_text(judged: tuple[World, EvalConfig]) -> None:
    page = (judged[1].out / "index.html").read_text(encoding="utf-8")
    tags: list[str] = []
    links: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            links.extend(value or "" for name, value in attributes if name in {"src", "href"})
            assert not any(name.startswith("on") for name, _ in attributes)

    Reader().feed(page)
    assert "script" not in tags
    assert all(link.startswith(("data:image/png;base64,", "data:image/webp;base64,")) for link in links)
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 12 * len(VIEWS)
    assert "{{ 7 * 7 }}" in page


def test_stickers_shown_are_a_mix_of_right_and_wrong() -> None:
    right = np.array([True] * 90 + [False] * 10)
    selected = select_stickers(right, 48, seed=0)
    assert len(selected) == 48
    assert (~right[selected]).sum() == 10
    mostly_wrong = select_stickers(~right, 48, seed=0)
    assert (~right[mostly_wrong]).sum() == 10


@pytest.mark.parametrize("tracker", ["wandb", "trackio"])
def test_evaluation_of_a_tracked_run_leaves_the_environment_alone(
    judged: tuple[World, EvalConfig], monkeypatch: pytest.MonkeyPatch, tracker: str
) -> None:
    """A run's tracker is its training's business; whoever evaluates it may have another one, or none."""
    world, config = judged
    for name in [name for name in os.environ if name.startswith(("WANDB_", "TRACKIO_", "GRADIO_"))]:
        monkeypatch.delenv(name)
    run = world.folder / "tracked" / tracker
    shutil.copytree(config.runs[1], run)
    resolved = json.loads((run / "config.json").read_text())
    resolved["config"]["tracker"] = tracker
    (run / "config.json").write_text(json.dumps(resolved))
    evaluate(EvalConfig(runs=(run,), out=run / "report", splits=("test",), bootstrap_rounds=100))
    assert not any(name.startswith(("WANDB_", "TRACKIO_", "GRADIO_")) for name in os.environ)
    assert not (run / "tracker").exists()


def test_page_calls_only_a_split_unseen_that_was_not_used(judged: tuple[World, EvalConfig]) -> None:
    world, config = judged
    said = "took no part in"
    assert said in (config.out / "index.html").read_text(encoding="utf-8")
    out = world.folder / "on-validation"
    evaluate(EvalConfig(runs=config.runs[1:], out=out, splits=("validation",), bootstrap_rounds=100))
    assert said not in (out / "index.html").read_text(encoding="utf-8")


def test_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a run folder of 'mghft train'"):
        evaluate(EvalConfig(runs=(tmp_path,), out=tmp_path / "report"))


def test_evaluation_without_runs_is_refused() -> None:
    with pytest.raises(ValueError, match="there is nothing to evaluate: name run folders"):
        build_eval_config({"runs": [], "out": "o"})


def test_runs_of_different_precision_are_judged_each_in_its_own(world: World) -> None:
    half = train(world.config("half", mixed_precision="bf16"))
    plain = train(world.config("plain", use_text=False))
    again = train(world.config("again", seed=5))

    def probabilities(out: str, *runs: Path) -> dict[str, list[dict[str, float]]]:
        config = EvalConfig(runs=runs, out=world.folder / out, splits=("test",), late_fusion=False)
        evaluate(config)
        rows = pq.read_table(config.out / "predictions.parquet").to_pylist()
        names = {row["system"] for row in rows if row["system"].startswith("MGHFT")}
        return {name: [row["probabilities"] for row in rows if row["system"] == name] for name in names}

    together = probabilities("together", half, plain, again)
    alone = {"MGHFT": half, "MGHFT without text": plain, "MGHFT (again)": again}
    for name, run in alone.items():
        (expected,) = probabilities(f"of {run.name}", run).values()
        found = np.array([list(row.values()) for row in together[name]])
        np.testing.assert_allclose(found, [list(row.values()) for row in expected], atol=1e-9)


def test_unfinished_run_and_broken_pictures_are_said_in_the_report(world: World) -> None:
    run = train(world.config("run", use_text=False))
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text(lines[0] + "\n")
    broken = sorted((world.data / "test").iterdir())[2]
    broken.write_bytes(broken.read_bytes()[:60])
    out = world.folder / "report"
    evaluation = evaluate(EvalConfig(runs=(run,), out=out, splits=("test",)))
    assert evaluation.notes == [
        "MGHFT without text is not finished: 1 of 2 epochs are done, and its best weights so far are judged; "
        "`mghft train --resume` goes on",
        f"left out of test because they cannot be decoded: 1 image (test/{broken.name})",
    ]
    assert "is not finished: 1 of 2 epochs" in (out / "index.html").read_text(encoding="utf-8")
    assert "is not finished: 1 of 2 epochs" in (out / "report.md").read_text(encoding="utf-8")
