"""A zero-shot run with an engine whose preferences are known: requests, rows, predictions, report."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from describe_bench import rows
from sklearn.metrics import balanced_accuracy_score, f1_score
from zero_shot_bench import LABELS, Opinionated, config, make_corpus, preferences, run

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.engines.base import Response
from mghft.pipeline.errors import NothingDescribedError
from mghft.pipeline.predictions import read_predictions
from mghft.pipeline.runs.status import verify_run

COUNT = 36
# By how `make_corpus` deals them out.
VALIDATION = [n for n in range(COUNT) if n // 2 % 3 == 1]
TEST = [n for n in range(COUNT) if n // 2 % 3 == 2]


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus") / "data", COUNT)


@pytest.fixture(scope="module")
def done(card, tmp_path_factory):
    engine = Opinionated()
    result = run(config(card, tmp_path_factory.mktemp("runs") / "run", transductive=True), engine)
    return result, engine


def number(sticker_id):
    return int(sticker_id.removeprefix("images/").removesuffix(".png"))


def predictions(result, system, split):
    found = read_predictions(result.report.folder / "predictions.parquet")
    (one,) = [one for one in found if (one.system, one.split) == (f"M{system}", split)]
    assert one.labels == LABELS
    return {number(name): row for name, row in zip(one.ids, one.probabilities, strict=True)}


def softmax(scores):
    return np.exp(scores) / np.exp(scores).sum()


def figures(result, split, system):
    (line,) = [line for line in result.report.splits[split] if line["system"] == f"M{system}"]
    return line


def test_every_sticker_but_those_of_train_has_one_row(card, done):
    result, _ = done
    found = rows(result.report.folder)
    assert sorted(map(number, found)) == sorted([*VALIDATION, *TEST])
    assert {row["status"] for row in found.values()} == {"ok"}
    assert verify_run(result.report.folder) == []
    assert result.stats["rows"] == result.stats["described_now"] == 24


def test_one_pass_asks_for_everything_once(done):
    """A choice, the official prompt and three orders; with the words and without where there are words."""
    _, engine = done
    keys = Counter(request.key for request in engine.requests)
    assert set(keys.values()) == {1}
    kinds = ["choice", "letters/0", "letters/1", "letters/2", "official"]
    by_sticker = {name: sorted(key.view for key in keys if key.sticker_id == name) for name, _ in keys}
    for name, views in by_sticker.items():
        conditions = ["with_text", "without_text"] if number(name) % 2 else ["without_text"]
        assert views == [f"{condition}/{kind}" for condition in conditions for kind in kinds]
    for request in engine.requests:
        assert (f"words {number(request.key.sticker_id)}" in request.user) == (
            "with_text" in request.key.view
        )
        assert request.sampling.temperature == 0
        assert (request.sampling.max_tokens == 1) == bool(request.score)


@pytest.mark.parametrize(("name", "words_given"), [("", True), (" without text", False)])
def test_scores_are_free_of_the_letters(done, name, words_given):
    """The engine likes A; averaged over the orders its preferences for the classes come out as they are."""
    for n, probabilities in predictions(done[0], f"{name}: score", "test").items():
        expected = softmax(preferences(n, with_text=words_given and n % 2 == 1))
        assert probabilities == pytest.approx(expected, abs=1e-5)


def test_calibrated_scores_are_free_of_the_mean_over_validation(done):
    bias = np.mean([preferences(n, with_text=n % 2 == 1) for n in VALIDATION], axis=0)
    for n, probabilities in predictions(done[0], ": calibrated", "test").items():
        assert probabilities == pytest.approx(softmax(preferences(n, with_text=n % 2 == 1) - bias), abs=1e-5)


def test_calibrated_on_the_judged_stickers_is_called_transductive(done):
    result, _ = done
    bias = np.mean([preferences(n) for n in TEST], axis=0)
    for n, probabilities in predictions(result, " without text: calibrated (transductive)", "test").items():
        assert probabilities == pytest.approx(softmax(preferences(n) - bias), abs=1e-5)
    names = {split: [line["system"] for line in lines] for split, lines in result.report.splits.items()}
    # On validation there is no other way to calibrate.
    assert names["validation"][:4] == ["M: choice", "M: score", "M: calibrated (transductive)", "M: official"]
    assert names["test"][1:4] == ["M: score", "M: calibrated", "M: calibrated (transductive)"]


def test_choice_and_official_are_what_was_said(done):
    for n, probabilities in predictions(done[0], " without text: choice", "test").items():
        assert probabilities.tolist() == np.eye(3)[preferences(n).argmax()].tolist()
    for n, probabilities in predictions(done[0], " without text: official", "test").items():
        if n % 5:
            assert probabilities.tolist() == np.eye(3)[preferences(n).argmin()].tolist()
        else:
            assert probabilities[n % 3] == 0, "no answer is a wrong one"


def test_figures_against_scikit_learn(done):
    result, _ = done
    true = [n % 3 for n in TEST]
    # A label of its own for no answer.
    said = [preferences(n).argmin() if n % 5 else 3 for n in TEST]
    line = figures(result, "test", " without text: official")
    assert line["stickers"] == len(TEST)
    assert line["non_answers"] == sum(n % 5 == 0 for n in TEST) > 0
    assert line["accuracy"] == pytest.approx(np.mean(np.array(true) == said))
    assert set(true) == {1, 2}, "macro is over the classes that occur"
    options = {"labels": [1, 2], "zero_division": 0.0}
    assert line["f1_macro"] == pytest.approx(f1_score(true, said, average="macro", **options))
    assert line["f1_weighted"] == pytest.approx(f1_score(true, said, average="weighted", **options))
    chosen = [preferences(n).argmax() for n in TEST]
    choice = figures(result, "test", " without text: choice")
    assert choice["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(true, chosen))
    assert choice["predicted"] == {label: chosen.count(k) for k, label in enumerate(LABELS)}
    assert choice["non_answers"] == 0
    assert choice["changes_under_rotation"] is None


def test_order_sensitivity_is_the_share_of_stickers_whose_answer_changes(done):
    """Written out: the best label in each order, the liking for the letters as the bench has it."""
    changed = []
    for n in TEST:
        x, letters = preferences(n), [1.5, 0.0, -0.5]
        best = {max(range(3), key=lambda k, r=r: x[k] + letters[(k - r) % 3]) for r in range(3)}
        changed.append(len(best) > 1)
    share = figures(done[0], "test", " without text: score")["changes_under_rotation"]
    assert share == pytest.approx(np.mean(changed))
    assert 0 < share < 1


def test_what_else_the_report_says(done):
    result, _ = done
    facts = result.report.facts
    assert (facts["stickers"], facts["stickers_with_text"], facts["text_given"]) == (24, 12, "both")
    assert facts["calibrated_on"] == len(VALIDATION)
    assert facts["selection"] == "where split!=train"
    assert facts["model_revision"] is None
    assert len(facts["weights_sha256"]) == len(facts["prompt_sha256"]) == 64
    assert facts["seconds_per_sticker"] > 0
    # 10 + 30 + 3·20 tokens read and 2 + 8 + 3 written, once or twice.
    assert facts["prompt_tokens_per_sticker"] == pytest.approx(1.5 * 100)
    assert facts["output_tokens_per_sticker"] == pytest.approx(1.5 * 13)
    assert figures(result, "test", ": score")["tokens_per_sticker"] == 63
    assert figures(result, "test", ": score")["with_text"] == 6
    assert figures(result, "test", " without text: score")["with_text"] == 0
    assert json.loads((result.report.folder / "zero_shot.json").read_text()) == {
        "facts": facts,
        "splits": result.report.splits,
        "notes": result.report.notes,
    }
    page = (result.report.folder / "zero_shot.md").read_text()
    assert "| M without text: calibrated (transductive) |" in page
    assert "Note: the official prompt names the labels of this corpus" in page


def test_a_finished_run_asks_nothing_and_is_judged_again(card, done):
    result, _ = done
    (result.report.folder / "zero_shot.md").unlink()
    engine = Opinionated()
    again = run(config(card, result.report.folder, transductive=True), engine)
    assert engine.requests == []
    assert again.report == result.report


def test_other_stickers_are_more_work_and_not_another_run(card, tmp_path):
    few = run(config(card, tmp_path, selection={"split": "test"}), Opinionated())
    assert few.report.notes[0].startswith(
        "no validation sticker was chosen, so the calibrated system is left"
    )
    assert [line["system"] for line in few.report.splits["test"]][:3] == [
        "M: choice",
        "M: score",
        "M: official",
    ]
    more = Opinionated()
    result = run(config(card, tmp_path), more)
    assert {number(request.key.sticker_id) for request in more.requests} == set(VALIDATION)
    assert "M: calibrated" in [line["system"] for line in result.report.splits["test"]]


def test_other_questions_are_another_run(card, tmp_path):
    run(config(card, tmp_path, selection={"limit": 2}), Opinionated())
    with pytest.raises(ValueError, match=r"prompt\.text is 'both' there and 'with' here"):
        run(config(card, tmp_path, text="with"), Opinionated())


@pytest.mark.parametrize(
    ("text", "names", "conditions"),
    [("with", ["M"], {"with_text", "without_text"}), ("without", ["M without text"], {"without_text"})],
)
def test_text_given_one_way_only(card, tmp_path, text, names, conditions):
    engine = Opinionated()
    result = run(config(card, tmp_path, text=text), engine)
    assert {request.key.view.split("/")[0] for request in engine.requests} == conditions
    assert len(engine.requests) == 24 * 5, "each sticker is asked one way"
    systems = {line["system"].split(":")[0] for line in result.report.splits["test"]}
    assert systems == set(names)


def test_a_corpus_without_texts_has_one_name(tmp_path):
    card = make_corpus(tmp_path / "data", 12, texts=False)
    result = run(config(card, tmp_path / "run"), Opinionated())
    assert [line["system"] for line in result.report.splits["test"]] == [
        "M: choice", "M: score", "M: calibrated", "M: official",
    ]  # fmt: skip


class Moody(Opinionated):
    """Refuses one kind of request about the sticker 4, gives no log-probabilities about the sticker 10."""

    def reply(self, request):
        n = number(request.key.sticker_id)
        if n == 4 and request.choice:
            return Response(request.key, error="the server refused the request: 400 too rude")
        response = super().reply(request)
        return Response(request.key, "A", "length", 20, 1) if n == 10 and request.score else response


def test_refusals_are_wrong_and_counted_and_can_be_asked_again(card, tmp_path):
    result = run(config(card, tmp_path), Moody())
    assert result.stats["failed"] == 1
    assert result.report.facts["failures"] == {"the server refused the request: 400 too rude": 1}
    assert figures(result, "test", ": choice")["non_answers"] == 1
    assert figures(result, "test", ": score")["non_answers"] == 1
    for n, system in ((4, "choice"), (10, "score")):
        assert predictions(result, f": {system}", "test")[n][n % 3] == 0
    engine = Opinionated()
    again = run(config(card, tmp_path, run={"retry_failed": True}), engine)
    assert {number(request.key.sticker_id) for request in engine.requests} == {4}
    assert (again.stats["failed"], figures(again, "test", ": choice")["non_answers"]) == (0, 0)


class Silent(Opinionated):
    """Gives no log-probabilities."""

    def letters(self, request, scores):
        return None


def test_an_engine_without_log_probabilities_leaves_out_scores_and_says_so(card, tmp_path):
    result = run(config(card, tmp_path), Silent())
    names = [line["system"] for line in result.report.splits["test"]]
    assert names == ["M: choice", "M: official", "M without text: choice", "M without text: official"]
    assert (
        "the engine tells no log-probability of a letter: score and calibrated are left out"
        in result.report.notes
    )


class Rude(Opinionated):
    """Refuses everything."""

    def reply(self, request):
        return Response(request.key, error="no")


class Mumbling(Opinionated):
    """Tells the sticker 4 no letter at all, the sticker 10 all but one letter of one order."""

    def reply(self, request):
        response = super().reply(request)
        n = number(request.key.sticker_id)
        if n == 4 and request.score:
            return replace(response, logprobs=dict.fromkeys(request.score, -9.0), unseen=3)
        return replace(response, unseen=1) if n == 10 and request.key.view.endswith("letters/2") else response


def test_a_sticker_of_which_no_letter_was_told_has_no_score(card, tmp_path):
    result = run(config(card, tmp_path, text="without"), Mumbling())
    assert figures(result, "test", " without text: score")["non_answers"] == 1
    assert predictions(result, " without text: score", "test")[10] == pytest.approx(
        softmax(preferences(10)), abs=1e-5
    )
    # 9 letters of the one and one of the other, of 9 of each of 12.
    assert any(note.startswith(f"{10 / 108:.1%} of the letters'") for note in result.report.notes)


class Wordy(Opinionated):
    """Begins hardly an answer with a letter, and takes no choice by force."""

    def reply(self, request):
        response = super().reply(request)
        return replace(response, text=f"It is {response.text}.") if request.choice else response

    def letters(self, request, scores):
        return {letter: value - 3.0 for letter, value in super().letters(request, scores).items()}


def test_answers_that_are_no_letters_and_choices_that_are_not_forced_are_told(card, tmp_path):
    """Of the half that the letters have in the bench e^-3 is left, 0.0249."""
    result = run(config(card, tmp_path), Wordy())
    notes = result.report.notes
    assert any("in test the letters have only 0.025 of the probability" in note for note in notes)
    assert any(note.startswith("36 of 36 choices are no bare label word") for note in notes)
    for n, probabilities in predictions(result, " without text: choice", "test").items():
        assert probabilities.argmax() == preferences(n).argmax()


def test_a_run_of_refusals_stops_early(card, tmp_path):
    with pytest.raises(NothingDescribedError, match="all of the first 20 answers are unusable, because: no"):
        run(config(card, tmp_path), Rude())


def test_a_file_that_is_no_picture_is_wrong_and_told(tmp_path):
    card = make_corpus(tmp_path / "data", 12)
    (tmp_path / "data" / "images" / "005.png").write_bytes(b"no picture")
    result = run(config(card, tmp_path / "run"), Opinionated())
    assert "1 of 8 stickers have no readable image and count as wrong" in result.report.notes
    assert {
        line["non_answers"] for line in result.report.splits["test"] if "official" not in line["system"]
    } == {1}


def test_two_workers_fill_one_folder_and_the_last_one_reports(card, tmp_path):
    first = run(config(card, tmp_path, run={"worker": "1/2"}), Opinionated())
    assert first.report is None
    last = run(config(card, tmp_path, run={"worker": "2/2"}), Opinionated())
    assert first.stats["described_now"] + last.stats["described_now"] == 24
    assert last.report.facts["stickers"] == 24
    assert verify_run(tmp_path, None) == []


def test_the_rows_are_no_descriptions(card, done):
    from mghft.train.data.descriptions import read_texts
    from mghft.train.probing.described_runs import DescribedRun

    folder = done[0].report.folder
    with pytest.raises(ValueError, match="has no text in the views content, style"):
        read_texts(folder, ("content", "style"))
    with pytest.raises(ValueError, match="has no views"):
        DescribedRun.read(folder, "it")


def test_unlabelled_stickers_cannot_be_judged(tmp_path):
    card = make_corpus(tmp_path / "data", 6)
    lines = (tmp_path / "data" / "stickers.csv").read_text().splitlines()
    plain = [line.replace("anger", "").replace("fear", "").replace("joy", "") for line in lines]
    (tmp_path / "data" / "stickers.csv").write_text("\n".join(plain) + "\n")
    assert all(sticker.label is None for sticker in load_corpus(load_card(card), card.parent).stickers)
    with pytest.raises(ValueError, match="none of 4 stickers of feelings chosen has a label"):
        run(config(card, tmp_path / "run"), Opinionated())
    assert not (tmp_path / "run").exists()


def test_settings_that_mean_nothing_here_are_refused(card, tmp_path):
    from mghft.pipeline.zero_shot.config import build_zero_shot_config

    fields = {"corpus.card": str(card), "corpus.data": card.parent, "run.out": tmp_path}
    with pytest.raises(ValueError, match=r"knows no run\.embed_images"):
        build_zero_shot_config(None, fields, {"run.embed_images": True})
    with pytest.raises(ValueError, match="has no field 'prompt'"):
        build_zero_shot_config(None, fields, {"prompt": "figure"})
