"""Accuracy per topic: by hand, of a table's column through `mghft eval`, and none where there are none."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score
from squares import CARD, World
from typer.testing import CliRunner

from mghft.cli import app
from mghft.pipeline.corpora.sticker import Sticker
from mghft.train.config import build_config
from mghft.train.data.splits import Split
from mghft.train.evaluation.topics import evaluate_topics, topics_csv
from mghft.train.trainer.trainer import train


def split_of(topics: list[str | None]) -> Split:
    """Stickers whose labels are 0, 1, 0, 1, …"""
    stickers = [Sticker(f"{n}.png", f"{n}.png", "test", topic=topic) for n, topic in enumerate(topics)]
    images: Any = [None for _ in stickers]
    return Split(stickers, np.arange(len(topics)) % 2, images, None, None, None)


def one_hot(predicted: list[int]) -> Any:
    return np.eye(2)[predicted]


def test_every_topic_counts_once_and_the_hardest_come_first() -> None:
    split = split_of(["dogs"] * 6 + ['cats, "wild"'] * 8 + ["few"] * 2 + [None])
    always_zero = [0] * 17
    half_cats = [0, 1] * 3 + [1] * 8 + [0, 0] + [1]
    summaries, tables = evaluate_topics(
        split, {"zero": one_hot(always_zero), "other": one_hot(half_cats)}, seed=0, rounds=500
    )
    zero, other = summaries["zero"], summaries["other"]
    assert zero.topics == 3 and zero.mean_accuracy == pytest.approx(0.5) and zero.none_right == 0
    # dogs 6 of 6, cats 4 of 8, few 1 of 2; the sticker without a topic is in none.
    assert other.mean_accuracy == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert [row.topic for row in other.hardest] == ['cats, "wild"', "dogs"]
    low, high = other.interval
    assert 0.5 <= low < other.mean_accuracy < high <= 1
    cats = next(row for row in tables["other"] if row.topic.startswith("cats"))
    rows = np.arange(6, 14)
    assert cats.accuracy == accuracy_score(split.labels[rows], np.array(half_cats)[rows])
    # Wilson, 4 of 8: Newcombe (1998), method 3.
    assert cats.interval == pytest.approx((0.2152, 0.7848), abs=1e-4)
    found = list(csv.DictReader(io.StringIO(topics_csv({"test": tables}))))
    assert len(found) == 6 and {row["topic"] for row in found} == {"dogs", 'cats, "wild"', "few"}
    assert found[1] == {
        "split": "test",
        "topic": 'cats, "wild"',
        "stickers": "8",
        "system": "other",
        "right": "4",
        "accuracy": "0.5000",
        "low": "0.2152",
        "high": "0.7848",
    }


def test_topics_of_which_none_is_right_are_counted() -> None:
    split = split_of(["a", "a", "b", "b", "c", "c", "d", "d"])
    wrong_on_a = [1, 0, 0, 1, 0, 1, 0, 1]
    summaries, _ = evaluate_topics(split, {"x": one_hot(wrong_on_a)}, seed=0, rounds=100)
    assert summaries["x"].none_right == 0.25 and summaries["x"].hardest == []


@pytest.mark.parametrize("topics", [[None] * 6, ["one"] * 6])
def test_a_corpus_without_topics_or_with_one_has_no_such_table(topics: list[str | None]) -> None:
    assert evaluate_topics(split_of(topics), {"x": one_hot([0] * 6)}, seed=0, rounds=100) == ({}, {})


def test_eval_reports_the_topics_of_a_table(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.card.write_text(CARD.replace("part: part", "part: part, topic: set"), encoding="utf-8")
    with (world.data / "stickers.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "split", "part", "set"])
        for number, row in enumerate(world.rows):
            writer.writerow([*row.values(), ("bears", "<b>cats</b>")[number % 2]])
    fields: dict[str, Any] = {"use_text": False, "descriptions": None, "epochs": 1, "warmup_epochs": 0}
    run = train(build_config(world.fields("run", **fields)))
    out = tmp_path / "report"
    result = CliRunner().invoke(app, ["eval", str(run), "--out", str(out), "--workers", "0"])
    assert result.exit_code == 0, result.output
    assert "mean over the 2 topics of test: " in result.stdout
    found = json.loads((out / "report.json").read_text())["topics"]["test"]
    rows = list(csv.DictReader(io.StringIO((out / "topics.csv").read_text(encoding="utf-8"))))
    for system, summary in found.items():
        of_system = [row for row in rows if row["system"] == system and row["split"] == "test"]
        assert [row["topic"] for row in of_system] == ["<b>cats</b>", "bears"]
        mean = sum(int(row["right"]) / int(row["stickers"]) for row in of_system) / 2
        assert summary["mean_accuracy"] == pytest.approx(mean)
    page = (out / "index.html").read_text()
    assert "&lt;b&gt;cats&lt;/b&gt;" in page and "<b>cats</b>" not in page
    assert "[topics.csv](topics.csv)" in (out / "report.md").read_text()
