"""Rows of earlier runs taken over into a new one: only where the same would be asked about the same image."""

import csv
import json

import pytest
from describe_bench import KnownEngine, config, make_corpus, problems, rows, run

from mghft.pipeline.runs.journal import Journal
from mghft.pipeline.runs.shards import read_shard, shard_paths

COLUMNS = "{path: path, label: label, split: split}"


@pytest.fixture
def card(tmp_path):
    return make_corpus(tmp_path / "data", 40)


def failing():
    """An engine whose responses about stickers with numbers that end in 3 or 7 are of no use."""
    return KnownEngine(lambda request, text: "no" if request.key.sticker_id[-5] in "37" else text)


def reusing(card, out, *sources, engine=None, **fields):
    """A run with sources; how many stickers were asked about, and its statistics."""
    engine = engine or KnownEngine()
    stats = run(config(card, out, reuse=tuple(sources), **fields), engine)
    return engine.requests, stats


def test_rows_with_the_same_fingerprint_are_not_asked_again(card, tmp_path):
    run(config(card, tmp_path / "try", sample=12))
    run(config(card, tmp_path / "undisturbed"))
    asked, stats = reusing(card, tmp_path / "out", tmp_path / "try")
    assert asked == 28
    assert (stats["reused"], stats["described_now"], stats["resumed"], stats["ok"]) == (12, 28, 0, 40)
    assert rows(tmp_path / "out") == rows(tmp_path / "undisturbed")
    assert problems(tmp_path / "out", card) == []


def test_a_run_that_is_reused_as_a_whole_starts_no_engine(card, tmp_path):
    run(config(card, tmp_path / "try"))
    assert reusing(card, tmp_path / "out", tmp_path / "try")[0] == 0
    assert json.loads((tmp_path / "out" / "stats.json").read_text())["reused"] == 40
    assert rows(tmp_path / "out") == rows(tmp_path / "try")


def test_runs_are_found_below_a_folder_of_tries(card, tmp_path):
    run(config(card, tmp_path / "tries" / "a" / "one", limit=5))
    run(config(card, tmp_path / "tries" / "b", sample=8, seed=4))
    run(config(card, tmp_path / "tries" / "a" / "other", prompt="figure"))
    there = rows(tmp_path / "tries" / "a" / "one").keys() | rows(tmp_path / "tries" / "b").keys()
    assert reusing(card, tmp_path / "out", tmp_path / "tries")[0] == 40 - len(there)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"prompt": "figure"}, "prompt.language"),
        ({"image": {"max_side": 16}}, "image.max_side"),
        ({"attempts": 1}, "attempts"),
    ],
)
def test_another_fingerprint_is_said_and_nothing_is_taken(card, tmp_path, capsys, fields, named):
    run(config(card, tmp_path / "try", attempts=2))
    capsys.readouterr()
    asked, stats = reusing(card, tmp_path / "out", tmp_path / "try", **{"attempts": 2, **fields})
    assert (asked, stats["reused"]) == (40, 0)
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith(f"describe: nothing is reused from {tmp_path / 'try'}: it differs in ")
    if named != "prompt.language":
        assert line.endswith(f"differs in {named}")


def test_more_attempts_take_the_answers_of_fewer(card, tmp_path):
    run(config(card, tmp_path / "try"))
    assert reusing(card, tmp_path / "out", tmp_path / "try", attempts=3)[0] == 0


def test_an_image_that_has_changed_is_asked_about(card, tmp_path):
    run(config(card, tmp_path / "try"))
    images = card.parent / "images"
    (images / "0003.png").write_bytes((images / "0004.png").read_bytes())
    (images / "0005.png").unlink()
    assert reusing(card, tmp_path / "out", tmp_path / "try")[0] == 1
    found = rows(tmp_path / "out")
    assert found["images/0003.png"]["content"] == "content of 4-0-128"
    assert found["images/0005.png"]["error"] == "the file is missing"


def test_failed_rows_are_asked_again(card, tmp_path):
    run(
        config(card, tmp_path / "try"),
        failing(),
    )
    assert reusing(card, tmp_path / "out", tmp_path / "try")[0] == 8


def test_a_failed_sticker_that_is_retried_takes_a_good_row(card, tmp_path):
    run(
        config(card, tmp_path / "out"),
        failing(),
    )
    run(config(card, tmp_path / "try", limit=20))
    asked, stats = reusing(card, tmp_path / "out", tmp_path / "try", retry_failed=True)
    assert (asked, stats["reused"], stats["ok"]) == (4, 4, 40)
    assert problems(tmp_path / "out", card) == []


def with_texts(card, texts):
    """The corpus with a column of printed texts."""
    with (card.parent / "stickers.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "split", "text"])
        for number, text in enumerate(texts):
            table.writerow([f"images/{number:04d}.png", "bright", "test", text])
    card.write_text(card.read_text().replace(COLUMNS, COLUMNS[:-1] + ", text: text}"), encoding="utf-8")


def test_another_text_on_the_sticker_is_another_prompt(card, tmp_path):
    run(config(card, tmp_path / "try"))
    with_texts(card, ["hello" if number < 7 else "" for number in range(40)])
    assert reusing(card, tmp_path / "out", tmp_path / "try")[0] == 7


def test_label_and_split_come_from_the_corpus_of_today(card, tmp_path):
    run(config(card, tmp_path / "try"))
    with_texts(card, [""] * 40)
    assert reusing(card, tmp_path / "out", tmp_path / "try")[0] == 0
    assert {(row["label_name"], row["split"]) for row in rows(tmp_path / "out").values()} == {
        ("bright", "test")
    }


def test_embedded_images_come_from_the_corpus(card, tmp_path):
    run(config(card, tmp_path / "try"))
    assert reusing(card, tmp_path / "out", tmp_path / "try", embed_images=True)[0] == 0
    for path in shard_paths(tmp_path / "out"):
        for row in read_shard(path).to_pylist():
            assert row["image"]["bytes"] == (card.parent / row["path"]).read_bytes()


def test_a_killed_try_gives_the_rows_of_its_journal(card, tmp_path):
    run(config(card, tmp_path / "try"))
    fingerprint = json.loads((tmp_path / "try" / "manifest.json").read_text())["fingerprint"]
    journal = Journal(tmp_path / "try" / ".descriptions-00000.rows", fingerprint)
    for path in shard_paths(tmp_path / "try"):
        for row in read_shard(path).to_pylist():
            journal.append(row)
        path.unlink()
    journal.close()
    assert reusing(card, tmp_path / "out", tmp_path / "try")[0] == 0


def test_a_run_killed_behind_its_reused_rows_goes_on(card, tmp_path):
    run(config(card, tmp_path / "try", limit=20))

    class Killed(KnownEngine):
        def submit(self, request):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reusing(card, tmp_path / "out", tmp_path / "try", engine=Killed())
    assert len(rows(tmp_path / "out")) == 20
    asked, stats = reusing(card, tmp_path / "out", tmp_path / "try")
    assert (asked, stats["reused"], stats["resumed"]) == (20, 0, 20)
    assert problems(tmp_path / "out", card) == []


def test_an_estimate_leaves_out_what_will_be_reused(card, tmp_path):
    run(config(card, tmp_path / "try", limit=25))
    stats = reusing(card, tmp_path / "out", tmp_path / "try", dry_run=True)[1]
    assert (stats["selected"], stats["left"]) == (40, 15)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_runs_is_refused(card, tmp_path):
    with pytest.raises(ValueError, match="holds no run with a manifest"):
        reusing(card, tmp_path / "out", card.parent)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        reusing(card, tmp_path / "out", tmp_path / "nowhere")


def test_a_damaged_try_is_said_and_left(card, tmp_path, capsys):
    run(config(card, tmp_path / "try"))
    (tmp_path / "try" / "manifest.json").write_text("{}")
    assert reusing(card, tmp_path / "out", tmp_path / "try")[0] == 40
    assert "nothing is reused from" in capsys.readouterr().err
