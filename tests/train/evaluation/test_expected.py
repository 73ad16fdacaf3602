"""Expected ranges of accuracies: what is inside, what is outside, and files that are none."""

from types import SimpleNamespace

import pytest

from mghft.train.evaluation.expected import compare, read_expected

FILE = """
test:
  unseen style:
    MGHFT: [0.64, 0.72]
    text only: [0.5, 0.5]
"""


def measured(mghft, text_only):
    systems = {"MGHFT": SimpleNamespace(accuracy=mghft), "text only": SimpleNamespace(accuracy=text_only)}
    return {"test": {"unseen style": systems}}


@pytest.fixture
def expected(tmp_path):
    path = tmp_path / "expected.yaml"
    path.write_text(FILE)
    return read_expected(path)


def test_both_ends_belong_to_the_range(expected):
    for accuracy in (0.64, 0.7, 0.7204):
        assert compare(expected, measured(accuracy, 0.5)) == ["all 2 accuracies lie in the expected ranges"]


def test_what_is_outside_is_named(expected):
    said = compare(expected, measured(0.73, 0.5))
    assert said == [
        "1 of 2 accuracies lie in the expected ranges; outside:",
        "  MGHFT on test, unseen style: 0.730, expected 0.640 to 0.720",
    ]


def test_a_system_that_was_not_evaluated_is_no_success(expected):
    with pytest.raises(
        ValueError, match="expected is text only on test, unseen style, which was not evaluated"
    ):
        compare(expected, {"test": {"unseen style": {"MGHFT": SimpleNamespace(accuracy=0.7)}}})


@pytest.mark.parametrize(
    "text",
    [
        "test: [0.1, 0.2]",
        "test: {all: {MGHFT: 0.5}}",
        "test: {all: {MGHFT: [0.7, 0.6]}}",
        "test: {all: {MGHFT: [60, 70]}}",
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, text):
    path = tmp_path / "expected.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="expected"):
        read_expected(path)
