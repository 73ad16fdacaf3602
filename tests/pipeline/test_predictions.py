"""Predictions files: ours and those that other people's tools write; every slip named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mghft.pipeline.predictions import prediction_table, read_predictions, write_predictions

LABELS = ("anger", "joy", "中性")
PROBABILITIES = np.array([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2]])


def rows(**changes: Any) -> dict[str, Any]:
    return {
        "id": ["a.png", "b.png"],
        "split": ["test", "test"],
        "label": ["joy", "anger"],
        "probabilities": [dict(zip(LABELS, row, strict=True)) for row in PROBABILITIES.tolist()],
        "system": ["CLIP", "CLIP"],
        "seed": [3, 3],
        **changes,
    }


def written(folder: Path, **changes: Any) -> Path:
    """Return a file as pandas writes it."""
    path = folder / "theirs.parquet"
    pd.DataFrame(rows(**changes)).to_parquet(path)
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    how: dict[str, Any] = {"split": "test", "true": ["joy", "anger"], "labels": LABELS}
    tables = [
        prediction_table(system="A", seed=seed, ids=["a", "b"], probabilities=PROBABILITIES[::step], **how)
        for seed, step in ((1, 1), (2, -1))
    ]
    write_predictions(tmp_path / "predictions.parquet", pa.concat_tables(tables))
    first, second = read_predictions(tmp_path)
    assert (first.system, first.seed, first.split, first.labels) == ("A", 1, "test", LABELS)
    assert second.seed == 2
    assert first.ids == ("a", "b") and first.true.tolist() == [1, 0]
    assert first.subsets is None and first.groups is None
    np.testing.assert_allclose(first.probabilities, PROBABILITIES)
    np.testing.assert_allclose(second.probabilities, PROBABILITIES[::-1])


def test_groups_and_subsets_are_kept(tmp_path: Path) -> None:
    (found,) = read_predictions(written(tmp_path, subset=["unseen", None], group=["cats", "dogs"]))
    assert found.subsets == ("unseen", None) and found.groups == ("cats", "dogs")


@pytest.mark.parametrize(
    "probabilities",
    [
        rows()["probabilities"],
        pa.array([list(row.items()) for row in rows()["probabilities"]], pa.map_(pa.string(), pa.float32())),
        pa.array(rows()["probabilities"], pa.struct([(label, pa.float16()) for label in LABELS])),
    ],
    ids=["pandas", "map", "half"],
)
def test_struct_or_map_of_any_float(tmp_path: Path, probabilities: Any) -> None:
    table = pa.table(rows(probabilities=probabilities))
    pq.write_table(table, tmp_path / "theirs.parquet")
    (found,) = read_predictions(tmp_path / "theirs.parquet")
    assert found.labels == LABELS and found.true.tolist() == [1, 0]
    np.testing.assert_allclose(found.probabilities, PROBABILITIES, atol=1e-3)
    np.testing.assert_allclose(found.probabilities.sum(1), 1, rtol=1e-12)


def test_lists_with_the_index_as_label(tmp_path: Path) -> None:
    path = written(tmp_path, label=[1, 0], probabilities=PROBABILITIES.tolist())
    (found,) = read_predictions(path)
    assert found.labels == ("0", "1", "2") and found.true.tolist() == [1, 0]
    np.testing.assert_allclose(found.probabilities, PROBABILITIES)


def test_categories_of_pandas_and_one_column_per_label(tmp_path: Path) -> None:
    frame = (
        pd.DataFrame(rows()).drop(columns="probabilities").astype({"label": "category", "system": "category"})
    )
    for label, column in zip(LABELS, PROBABILITIES.T, strict=True):
        frame[f"p_{label}"] = column
    frame.to_parquet(tmp_path / "wide.parquet")
    (found,) = read_predictions(tmp_path / "wide.parquet")
    assert found.labels == LABELS and found.true.tolist() == [1, 0]
    np.testing.assert_allclose(found.probabilities, PROBABILITIES)


@pytest.mark.parametrize("column", ["id", "split", "label", "probabilities", "system", "seed"])
def test_missing_column_is_named(tmp_path: Path, column: str) -> None:
    path = tmp_path / "theirs.parquet"
    pd.DataFrame(rows()).drop(columns=column).to_parquet(path)
    with pytest.raises(ValueError, match=f"theirs.parquet has no column '{column}'"):
        read_predictions(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": ["joy", "fear"]}, "the label 'fear' of 'b.png' has no probability; there are anger, joy"),
        ({"label": ["joy", None]}, "column 'label' is empty in 1 of 2 rows"),
        ({"id": ["a.png", "a.png"]}, "id 'a.png' is duplicated in split 'test' of system 'CLIP', seed 3"),
        ({"seed": ["one", "two"]}, "column 'seed' holds .*string, not whole numbers"),
        ({"seed": [1.5, 1]}, "column 'seed' holds double, not whole numbers"),
        ({"probabilities": [0.5, 0.5]}, "column 'probabilities' holds double"),
        ({"probabilities": [[0.5, 0.5], [1.0]], "label": [0, 1]}, r"different lengths: \[1, 2\]"),
        ({"probabilities": PROBABILITIES.tolist()}, "nobody knows which number belongs to which label"),
        ({"probabilities": [{"joy": "high", "anger": "low"}] * 2}, "the probabilities are not numbers"),
        (
            {"probabilities": [{"joy": 2.0, "anger": -1.0}, {"joy": 0.5, "anger": 0.5}]},
            "a probability of 'a.png' is below 0: these look like logits",
        ),
        (
            {"probabilities": [{"joy": 0.5, "anger": 0.5}, {"joy": 0.5, "anger": float("nan")}]},
            r"'b.png' (is not a number|does not belong to numbers that sum to 1) \(1 of 2 rows\)",
        ),
        (
            {"probabilities": [{"joy": 0.5, "anger": 0.5}, {"joy": 50.0, "anger": 50.0}]},
            "'b.png' does not belong to numbers that sum to 1",
        ),
    ],
)
def test_value_that_cannot_be_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_predictions(written(tmp_path, **changes))


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.parquet").write_text("id,split\n")
    with pytest.raises(ValueError, match=r"notes\.parquet is not a Parquet file, or is damaged"):
        read_predictions(tmp_path / "notes.parquet")
    with pytest.raises(FileNotFoundError, match=r"there are no predictions at .*nowhere"):
        read_predictions(tmp_path / "nowhere")
    pq.write_table(pa.table(rows()).slice(0, 0), tmp_path / "empty.parquet")
    with pytest.raises(ValueError, match=r"empty.parquet holds no predictions: it has 0 rows"):
        read_predictions(tmp_path / "empty.parquet")
