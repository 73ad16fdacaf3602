"""Scores of prompts on runs whose order is known, and what must not change or decide them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scored_runs import BagOfWords, described, failed, shuffled, with_answer, write_run

from mghft.train.probing.score import ScoreConfig, score_prompts
from mghft.train.probing.scores import ProbeMetrics, Scores
from mghft.train.probing.tables import comparison, sentences


def score(*paths: Path, encoder: BagOfWords | None = None, **changes: Any) -> Scores:
    folder = paths[0].parent
    return score_prompts(paths, ScoreConfig(cache_dir=folder / "cache", **changes), encoder or BagOfWords())


def probe_of(scores: Scores) -> dict[str, ProbeMetrics]:
    """Metrics by view of the first run."""
    probe = scores.runs[0].probe
    assert probe is not None
    return probe


def test_answer_beats_real_views_beat_shuffled_beat_empty_ones_with_the_shipped_encoder(
    tmp_path: Path,
) -> None:
    """The whole command in a process: order, verdicts, score.json, Markdown."""
    rows = described(12)
    kinds = {"answer": with_answer(rows), "real": rows, "shuffled": shuffled(rows), "empty": failed(rows)}
    for name, kind in kinds.items():
        write_run(tmp_path / "try" / name, kind)
    command = [sys.executable, "-m", "mghft", "prompts", "score", "try", "--out", "scores.md"]
    done = subprocess.run(
        [*command, "--cache-dir", "cache"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = {name: json.loads((tmp_path / "try" / name / "score.json").read_text()) for name in kinds}
    f1 = [found[name]["f1_macro"] for name in kinds]
    assert f1 == sorted(f1, reverse=True) and len(set(f1)) == 4
    accuracy = {name: found[name]["accuracy"] for name in kinds}
    assert accuracy["answer"] > accuracy["real"] + 0.1 > accuracy["shuffled"] + 0.2
    assert accuracy["shuffled"] < 0.25
    near = {name: found[name]["neighbours"]["all"]["f1_macro"] for name in kinds}
    assert near["answer"] > near["real"] > near["shuffled"] > near["empty"]
    # The label is in intention and details; content and style say nothing of it.
    by_view = {view: figures["accuracy"] for view, figures in found["answer"]["probe"].items()}
    assert (
        min(by_view["intention"], by_view["details"]) > 0.8 > 0.3 > max(by_view["content"], by_view["style"])
    )
    for better, worse in (("answer", "real"), ("real", "shuffled"), ("answer", "empty")):
        assert f"- {better} is better than {worse} by " in done.stdout
    assert "| real | intention | " in (tmp_path / "scores.md").read_text(encoding="utf-8")
    assert [found[name]["counts"]["own_label"] for name in kinds] == [1, 0, 0, None]
    assert [found[name]["counts"]["ok_share"] for name in kinds] == [1, 1, 1, 0]


def test_two_prompts_of_the_same_worth_are_not_told_apart(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"try/{seed}", described(12, seed=seed)) for seed in (1, 2)]
    found = score(*runs)
    (difference,) = found.differences
    assert not difference.significant and difference.value != 0
    assert "1 and 2 cannot be told apart on these 84 stickers" in " ".join(sentences(found)).replace(
        "2 and 1", "1 and 2"
    )


def test_a_copy_of_a_run_is_right_on_the_same_stickers(tmp_path: Path) -> None:
    rows = described(8)
    found = score(write_run(tmp_path / "one", rows), write_run(tmp_path / "two", rows))
    assert sentences(found) == [
        "one and two cannot be told apart on these 56 stickers: both are right on the same ones"
    ]


def test_the_seed_alone_decides(tmp_path: Path) -> None:
    rows = described(8)
    run, turned = write_run(tmp_path / "one", rows), write_run(tmp_path / "other" / "one", rows[::-1])
    first = (score(run), (run / "score.json").read_bytes())
    again = (score(run), (run / "score.json").read_bytes())
    assert first == again
    # In which order the rows were finished is nobody's doing.
    score(turned)
    assert (turned / "score.json").read_bytes() == first[1]
    assert score(run, seed=1).runs[0].probe != first[0].runs[0].probe


def test_texts_are_encoded_once(tmp_path: Path) -> None:
    encoder, run = BagOfWords(), write_run(tmp_path / "one", described(4))
    score(run, encoder=encoder)
    before = encoder.encoded
    score(run, encoder=encoder, seed=3)
    assert encoder.encoded == before > 0


def test_a_text_that_names_the_picture_and_not_the_feeling_is_worth_nothing(tmp_path: Path) -> None:
    """One figure in several styles, as in the emoji corpus: it must not be memorised."""
    rows = described(20, truth=0.0)
    for number, row in enumerate(rows):
        figure, style = number // 28 * 7 + number % 7, number // 7 % 4
        row["path"] = f"style-{style}/figure-{figure}.png"
        row["content"] = f"This is figure-{figure}."
    run = write_run(tmp_path / "one", rows)
    overfitted = probe_of(score(run, together="picture"))["content"]
    honest = score(run)
    labels = honest.runs[0].labels
    assert labels.together == "name" and labels.groups == 35
    assert overfitted.accuracy > 0.7 > 0.3 > probe_of(honest)["content"].accuracy


def test_failed_rows_count_as_stickers_without_text(tmp_path: Path) -> None:
    rows = with_answer(described(10))
    half = [row if number % 2 else failed([row])[0] for number, row in enumerate(rows)]
    whole, part = score(write_run(tmp_path / "whole", rows), write_run(tmp_path / "half", half)).runs
    assert part.labels.labelled == whole.labels.labelled == 70
    assert part.counts.ok == 35 and part.counts.finish_reasons == {"length": 35, "stop": 35}
    assert whole.whole and part.whole
    assert whole.whole.accuracy > 0.95 and 0.4 < part.whole.accuracy < 0.65


def test_views_that_a_prompt_does_not_ask_for_are_left_out(tmp_path: Path) -> None:
    rows = [{**row, "style": None, "intention": None, "details": None} for row in described(6)]
    found = score(write_run(tmp_path / "caption", rows, views=("content",)))
    counts, probe = found.runs[0].counts, probe_of(found)
    assert list(probe) == ["content", "all"] and list(counts.views) == ["content"]
    assert probe["content"] == probe["all"]
    assert counts.overlap is None


def test_prompts_are_compared_on_the_stickers_that_all_have(tmp_path: Path) -> None:
    rows = described(10)
    found = score(write_run(tmp_path / "all", rows), write_run(tmp_path / "few", rows[:50]))
    assert [run.labels.stickers for run in found.runs] == [50, 50]
    assert "all: 20 of 70 stickers are not in every run" in found.notes


def test_stickers_of_the_split_test_are_left_alone_unless_asked_for(tmp_path: Path) -> None:
    rows = [{**row, "split": "test" if n < 21 else "train"} for n, row in enumerate(described(10))]
    run = write_run(tmp_path / "one", rows)
    found = score(run)
    assert (found.runs[0].labels.stickers, found.runs[0].origin.splits) == (49, ["train"])
    assert found.notes[0].startswith("21 stickers of the split test are left out")
    assert score(run, splits=("test", "train")).runs[0].labels.stickers == 70


def test_a_language_of_unknown_script_is_named_and_a_run_without_text_is_none(tmp_path: Path) -> None:
    odd = score(write_run(tmp_path / "odd", described(1), language="tlh"))
    assert "odd: the language 'tlh' has no script in the list, so it is not checked" in odd.notes
    empty = score(write_run(tmp_path / "empty", failed(described(1))))
    assert not any("language" in note for note in empty.notes)


def test_without_labels_there_are_counts_and_a_word(tmp_path: Path) -> None:
    rows = [{**row, "label": None, "label_name": None} for row in described(4)]
    run = write_run(tmp_path / "one", rows)
    found = score(run)
    assert found.notes == ["no sticker has a label: only what can be counted is given"]
    kept = json.loads((run / "score.json").read_text())
    assert [kept[key] for key in ("accuracy", "f1_macro", "interval")] == [None, None, None]
    assert kept["counts"]["own_label"] is None
    assert kept["counts"]["words"] > 10


@pytest.mark.parametrize("count", [1, 5, 7])
def test_with_one_sticker_of_each_label_nothing_is_probed(tmp_path: Path, count: int) -> None:
    found = score(write_run(tmp_path / "one", described(1)[:count]))
    assert found.runs[0].probe is None and "do not suffice" in found.notes[-1]


def test_a_rare_label_is_no_obstacle(tmp_path: Path) -> None:
    rows = [row for row in described(12) if row["label"] in (0, 3)][:13] + described(1)[2:3]
    found = score(write_run(tmp_path / "one", rows))
    assert found.runs[0].labels.labelled == 14 and 0 <= probe_of(found)["all"].accuracy <= 13 / 14
    assert found.notes == ["14 stickers are too few to rank prompts: take hundreds"]


def test_a_comparison_says_how_many_stickers_would_do(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "good", described(8, seed=1, truth=0.8)),
        write_run(tmp_path / "fair", described(8, seed=2, truth=0.65)),
    ]
    found = score(*runs)
    said = comparison(found.differences[0], ("good", "fair"), 56)
    (difference,) = found.differences
    assert not difference.significant and difference.needed is not None
    assert difference.needed > 56 and said.endswith(f"would take about {difference.needed}")
