"""Comparisons of predictions files: whose they are does not matter, what does not fit together is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mghft.pipeline.predictions import prediction_table, write_predictions
from mghft.train.comparison.compare import CompareConfig, compare
from mghft.train.comparison.text import markdown
from mghft.train.evaluation.calibration import fit_temperature
from mghft.train.evaluation.metrics import classification_metrics
from mghft.train.evaluation.probability_metrics import probability_metrics

LABELS = ("anger", "joy", "sadness")
IDS = [f"{n}.png" for n in range(120)]
TRUE = np.arange(120) % 3


def answers(right: Sequence[bool] | np.ndarray, *, sure: float = 0.8) -> np.ndarray:
    """Return [n, 3] probabilities whose largest is the true label where `right` says so."""
    rows = np.full((len(right), 3), (1 - sure) / 2)
    place = np.where(right, TRUE[: len(right)], (TRUE[: len(right)] + 1) % 3)
    rows[np.arange(len(right)), place] = sure
    return rows


def rows_of(system: str, probabilities: np.ndarray, **changes: Any) -> pa.Table:
    fields: dict[str, Any] = {
        "seed": 0,
        "split": "test",
        "ids": IDS[: len(probabilities)],
        "true": [LABELS[label] for label in TRUE[: len(probabilities)]],
        "labels": LABELS,
    }
    return prediction_table(system=system, probabilities=probabilities, **{**fields, **changes})


def written(path: Path, *tables: pa.Table) -> str:
    write_predictions(path, pa.concat_tables(tables))
    return str(path)


def run(*sources: str, **fields: Any) -> Any:
    return compare(CompareConfig(sources=sources, **fields))


def first(share: float, count: int = 120) -> np.ndarray:
    return np.arange(count) < share * count


def test_two_files_of_two_programs(tmp_path: Path) -> None:
    better, worse = answers(first(0.9)), answers(first(0.5))
    ours = written(tmp_path / "ours.parquet", rows_of("MGHFT", better))
    theirs = written(
        tmp_path / "theirs.parquet",
        # Another order of stickers and labels.
        rows_of(
            "CLIP",
            worse[::-1][:, [2, 0, 1]],
            ids=IDS[::-1],
            true=[LABELS[t] for t in TRUE[::-1]],
            labels=[LABELS[i] for i in (2, 0, 1)],
        ),
    )
    found = run(ours, theirs)
    (section,) = found.sections
    by_name = {system.name: system for system in section.systems}
    for name, probabilities in (("MGHFT", better), ("CLIP", worse)):
        labels = classification_metrics(TRUE, probabilities.argmax(1), LABELS)
        soft = probability_metrics(TRUE, probabilities, LABELS)
        assert by_name[name].accuracy.mean == pytest.approx(labels.accuracy)
        assert by_name[name].f1_macro.mean == pytest.approx(labels.f1_macro)
        assert by_name[name].mcc == pytest.approx(labels.mcc)
        assert by_name[name].log_loss == pytest.approx(soft.log_loss)
        assert by_name[name].ece == pytest.approx(soft.ece)
        assert by_name[name].temperature is None
    (pair,) = section.pairs
    assert (pair.first_alone, pair.second_alone) == ([48], [0])
    assert pair.value == pytest.approx(0.4) and pair.test == "McNemar, exact"
    assert pair.p_value == pytest.approx(2 * 0.5**48)
    assert pair.words.startswith("MGHFT is better than CLIP: +40.0 points of accuracy (+31.")
    assert len(found.disagreements) == 48 and {one.right for one in found.disagreements} == {"MGHFT"}
    assert "one seed of MGHFT, CLIP" in found.notes[0]


def test_equal_systems_cannot_be_told_apart(tmp_path: Path) -> None:
    right = np.random.default_rng(2).random((2, 120)) < [[0.62], [0.55]]
    source = written(
        tmp_path / "a.parquet", *(rows_of(n, answers(r)) for n, r in zip("AB", right, strict=True))
    )
    (pair,) = run(source).sections[0].pairs
    assert not pair.told_apart and pair.stickers_needed is not None and pair.stickers_needed > 120
    assert pair.words.startswith("A and B cannot be told apart:")
    assert f"about {pair.stickers_needed:,} stickers would show this difference 4 times of 5" in pair.words


def test_seeds_are_averaged_and_their_spread_is_told(tmp_path: Path) -> None:
    shares = {"A": (0.8, 0.85, 0.9), "B": (0.7, 0.9, 0.5)}
    sources = [
        written(
            tmp_path / f"{seed}.parquet",
            *(rows_of(name, answers(first(shares[name][seed])), seed=seed) for name in shares),
        )
        for seed in range(3)
    ]
    (section,) = run(*sources).sections
    a, b = section.systems
    assert a.seeds == [0, 1, 2]
    assert a.accuracy.by_seed == pytest.approx(shares["A"])
    assert a.accuracy.mean == pytest.approx(0.85) and a.accuracy.deviation == pytest.approx(0.05)
    assert b.accuracy.deviation == pytest.approx(0.2)
    (pair,) = section.pairs
    # Ten, one and 48 stickers apart: the seeds alone make this no difference.
    assert pair.value == pytest.approx(0.15) and pair.interval[0] < 0 < pair.interval[1]
    assert not pair.told_apart and pair.stickers_needed is None
    assert "the seeds alone vary by more" in pair.words
    assert (pair.first_alone, pair.second_alone) == ([12, 0, 48], [0, 6, 0])
    assert pair.test == "Student's t, stickers and seeds"


def test_groups_that_are_alike_are_drawn_together(tmp_path: Path) -> None:
    right = np.repeat(np.random.default_rng(1).random((2, 12)) < [[0.8], [0.4]], 10, axis=1)
    groups = [f"emoji {n // 10}" for n in range(120)]
    alone = written(
        tmp_path / "alone.parquet", *(rows_of(n, answers(r)) for n, r in zip("AB", right, strict=True))
    )
    grouped = written(
        tmp_path / "grouped.parquet",
        *(rows_of(n, answers(r), groups=groups) for n, r in zip("AB", right, strict=True)),
    )
    (one,), (other,) = run(alone).sections[0].pairs, run(grouped).sections[0].pairs
    assert other.interval[1] - other.interval[0] > 2 * (one.interval[1] - one.interval[0])
    assert other.p_value > 10 * one.p_value and other.test == "permutation by groups"
    assert "intervals draw 12 groups of stickers that are alike, not 120 stickers" in run(grouped).notes


def test_every_subset_has_a_section_and_holm_counts_its_pairs(tmp_path: Path) -> None:
    subsets = ["seen" if n < 60 else None for n in range(120)]
    rng = np.random.default_rng(3)
    tables = [
        rows_of(name, answers(rng.random(120) < share), subsets=subsets)
        for name, share in (("A", 0.9), ("B", 0.6), ("C", 0.55))
    ]
    source = written(tmp_path / "p.parquet", *tables)
    found = run(source)
    assert [(section.subset, section.stickers) for section in found.sections] == [("all", 120), ("seen", 60)]
    pairs = found.sections[0].pairs
    assert len(pairs) == 3
    least = min(pairs, key=lambda pair: pair.p_value)
    assert least.p_holm == pytest.approx(3 * least.p_value)
    assert all("over 3 pairs" in pair.words for pair in pairs)
    against = run(source, against="C", subsets=False).sections
    assert [(pair.first, pair.second) for pair in against[0].pairs] == [("A", "C"), ("B", "C")]
    assert "| A | 1 |" in markdown(found)


def test_temperature_comes_from_the_validation_rows(tmp_path: Path) -> None:
    right = np.random.default_rng(4).random(240) < 0.6
    validation = answers(right[:120], sure=0.98)
    test = answers(right[120:], sure=0.98)
    source = written(tmp_path / "p.parquet", rows_of("A", test), rows_of("A", validation, split="validation"))
    (system,) = run(source).sections[0].systems
    temperature = fit_temperature(validation, TRUE)
    assert system.temperature == pytest.approx(temperature)
    assert system.ece_calibrated is not None and system.ece_calibrated < 0.15 < 0.3 < system.ece


def test_macro_f1_can_be_what_counts(tmp_path: Path) -> None:
    source = written(
        tmp_path / "p.parquet", rows_of("A", answers(first(0.9))), rows_of("B", answers(first(0.5)))
    )
    (pair,) = run(source, metric="f1_macro").sections[0].pairs
    expected = [
        classification_metrics(TRUE, answers(first(s)).argmax(1), LABELS).f1_macro for s in (0.9, 0.5)
    ]
    assert pair.value == pytest.approx(expected[0] - expected[1])
    assert "points of macro F1" in pair.words and pair.told_apart


def test_one_system_alone_has_metrics_and_no_pair(tmp_path: Path) -> None:
    found = run(written(tmp_path / "p.parquet", rows_of("A", answers(first(0.5)))))
    assert found.sections[0].pairs == [] and found.disagreements == []


def test_what_does_not_fit_together_is_named(tmp_path: Path) -> None:
    a = written(tmp_path / "a.parquet", rows_of("A", answers(first(0.5))))
    fewer = written(tmp_path / "fewer.parquet", rows_of("B", answers(first(0.5)[:100])))
    with pytest.raises(
        ValueError, match=r"same stickers: 'A' seed 0 on 120, 'B' seed 0 on 100, all on 100 \('100.png'"
    ):
        run(a, fewer)
    found = run(a, fewer, common=True)
    assert found.left_out == 20 and found.sections[0].stickers == 100
    other = written(tmp_path / "other.parquet", rows_of("A", answers(first(0.6))))
    with pytest.raises(
        ValueError, match=r"a.parquet and .*other.parquet hold different predictions of 'A' with seed 0"
    ):
        run(a, other)
    assert [s.name for s in run(a, f"A again={other}").sections[0].systems] == ["A", "A again"]
    assert len(run(a, a).sections[0].systems) == 1
    true = [LABELS[(label + 1) % 3] for label in TRUE]
    with pytest.raises(ValueError, match=r"the label of '0.png' is 'anger' to 'A' and 'joy' to 'B'"):
        run(a, written(tmp_path / "b.parquet", rows_of("B", answers(first(0.5)), true=true)))
    strange = rows_of("B", answers(first(0.5)), labels=("anger", "joy", "fear"), true=["joy"] * 120)
    with pytest.raises(
        ValueError, match="'B' and 'A' have different labels: fear, sadness in one of them alone"
    ):
        run(a, written(tmp_path / "c.parquet", strange))
    with pytest.raises(ValueError, match="no file has predictions of the split 'dev': there are test"):
        run(a, split="dev")
    with pytest.raises(ValueError, match="there is no system 'Z' in the split 'test': there are A"):
        run(a, systems=("Z",))
    with pytest.raises(ValueError, match="there is no system 'Z' to compare with: there are A"):
        run(a, against="Z")
    both = written(
        tmp_path / "ab.parquet", rows_of("A", answers(first(0.5))), rows_of("B", answers(first(0.5)))
    )
    with pytest.raises(
        ValueError, match=r"ab.parquet holds 2 systems \(A, B\), so NAME= cannot name them all"
    ):
        run(f"mine={both}")


def test_label_that_no_sticker_has_is_said(tmp_path: Path) -> None:
    labels = ("anger", "joy", "sadness", "disgust")
    rows = np.hstack([answers(first(0.5)), np.zeros((120, 1))])
    found = run(written(tmp_path / "p.parquet", rows_of("A", rows, labels=labels)))
    assert found.notes[-1] == "no sticker has the label disgust: macro means leave it out"
