"""Trials: the same stickers for every prompt, one engine, every row kept; and the list of what was tried."""

import json
import shutil

import pytest
from bad_server import BadServer
from describe_bench import KnownEngine, config, make_corpus, run
from trial_bench import Tellers, attempt, write_pack

from mghft.pipeline.describe.run import describe
from mghft.pipeline.engines.options import ServerOptions
from mghft.pipeline.errors import RunLockedError
from mghft.pipeline.runs.lock import lock_run
from mghft.pipeline.runs.manifest import read_manifest
from mghft.pipeline.runs.shards import read_descriptions
from mghft.pipeline.runs.status import verify_run
from mghft.pipeline.trials import run as trial_run
from mghft.pipeline.trials.history import read_history
from mghft.pipeline.trials.page import count_words, write_trial_page
from mghft.pipeline.trials.run import run_trial
from mghft.pipeline.trials.trial import read_trial


@pytest.fixture
def card(tmp_path):
    return make_corpus(tmp_path / "data", 40)


@pytest.fixture
def a(tmp_path):
    return write_pack(tmp_path, "alpha")


@pytest.fixture
def b(tmp_path):
    return write_pack(tmp_path, "beta")


def rows(done, number):
    folder = done.folder / done.manifest.packs[number].folder
    return {row["sticker_id"]: row for row in read_descriptions(folder).to_pylist()}


def test_every_prompt_meets_the_same_stickers_with_one_engine(card, tmp_path, a, b):
    engine = Tellers()
    done = attempt(card, tmp_path / "tries", a, b, "per-view", engine=engine, per_class=4, seed=2)
    assert (engine.starts, engine.ends) == (1, 1)
    ids = [sticker.id for sticker in done.stickers]
    assert len(ids) == 8
    for number, words in enumerate(("alpha", "beta", "Look")):
        found = rows(done, number)
        assert sorted(found) == sorted(ids)
        assert all(row["style"].endswith(f"told by {words}") for row in found.values())
        assert verify_run(done.folder / done.manifest.packs[number].folder) == []
    assert len(engine.asked) == 8 + 8 + 8 * 4


def test_stickers_of_test_are_left_out_unless_named(card, tmp_path, a):
    assert {s.split for s in attempt(card, tmp_path / "tries", a).stickers} == {"train"}
    assert {s.split for s in attempt(card, tmp_path / "tries", a, split="test").stickers} == {"test"}
    named = attempt(card, tmp_path / "tries", a, where=("split=test,train",), per_class=20)
    assert len(named.stickers) == 40


def test_without_a_choice_eight_of_every_class_are_drawn(card, tmp_path, a):
    done = attempt(card, tmp_path / "tries", a)
    assert done.manifest.subset.classes == {"bright": 8, "dark": 8}
    assert done.manifest.subset.words() == "where split!=test, 8 per class, seed 0"


def test_the_same_choice_again_asks_nothing_and_makes_no_new_try(card, tmp_path, a, b):
    first = attempt(card, tmp_path / "tries", a, b)
    engine = Tellers()
    again = attempt(card, tmp_path / "tries", a, b, engine=engine)
    assert engine.starts == 0
    assert again.folder == first.folder
    assert read_trial(again.folder) == first.manifest


def test_another_prompt_asks_only_for_itself(card, tmp_path, a, b):
    first = attempt(card, tmp_path / "tries", a)
    engine = Tellers()
    second = attempt(card, tmp_path / "tries", a, b, engine=engine)
    assert {prompt for prompt, _ in engine.asked} == {"beta"}
    assert second.folder != first.folder
    assert rows(second, 0) == rows(first, 0)
    assert [stats.get("reused", 0) for stats in second.stats] == [16, 0]


def test_a_larger_subset_asks_only_for_what_is_new(card, tmp_path, a):
    attempt(card, tmp_path / "tries", a, per_class=4)
    engine = Tellers()
    done = attempt(card, tmp_path / "tries", a, engine=engine, per_class=6)
    assert (len(done.stickers), len(engine.asked)) == (12, 4)


def test_the_whole_corpus_takes_the_rows_of_the_tries(card, tmp_path, a, b):
    attempt(card, tmp_path / "tries", a, b)
    engine = Tellers()
    settings = config(card, tmp_path / "run", prompt=b, reuse=(tmp_path / "tries",))
    stats = describe(settings, start_engine=engine)
    assert (stats["rows"], stats["reused"], len(engine.asked)) == (40, 16, 24)
    assert {row["style"][-4:] for row in read_descriptions(tmp_path / "run").to_pylist()} == {"beta"}


def test_a_try_that_was_stopped_goes_on(card, tmp_path, a, b):
    def stop(number, prompt, views):
        if prompt == "beta" and len(killed.asked) == 21:
            raise KeyboardInterrupt
        return views

    killed = Tellers(stop)
    with pytest.raises(KeyboardInterrupt):
        attempt(card, tmp_path / "tries", a, b, engine=killed)
    assert killed.ends == 1
    engine = Tellers()
    done = attempt(card, tmp_path / "tries", a, b, engine=engine)
    assert done.folder.name == "try-001"
    assert {prompt for prompt, _ in engine.asked} == {"beta"}
    assert len(engine.asked) < 16
    assert len(rows(done, 1)) == 16


def test_an_edited_pack_is_another_prompt_and_the_old_one_stays(card, tmp_path, a):
    first = attempt(card, tmp_path / "tries", a)
    write_pack(tmp_path, "alpha", "better:")
    second = attempt(card, tmp_path / "tries", a)
    assert second.manifest.packs[0].folder != first.manifest.packs[0].folder
    old = read_manifest(first.folder / first.manifest.packs[0].folder)
    assert "better" not in old["prompt"]["user"]


def test_a_pack_edited_while_others_are_tried_is_run_as_it_was_read(card, tmp_path, a, b):
    def edit(number, prompt, views):
        write_pack(tmp_path, "beta", "edited")
        return views

    done = attempt(card, tmp_path / "tries", a, b, engine=Tellers(edit))
    folder = done.folder / done.manifest.packs[1].folder
    assert read_manifest(folder)["prompt"]["sha256"] == done.manifest.packs[1].sha256


def test_packs_of_one_name_are_called_by_their_files(card, tmp_path):
    paths = [write_pack(tmp_path, name, name="mine") for name in ("first", "second")]
    done = attempt(card, tmp_path / "tries", *paths)
    assert [pack.title for pack in done.manifest.packs] == ["first", "second"]
    assert len({pack.folder for pack in done.manifest.packs}) == 2


@pytest.mark.parametrize("name", ["../../outside", "/etc", "..", "a\nb", "💥", "x" * 300])
def test_a_name_from_a_pack_stays_inside_the_folder(card, tmp_path, name):
    done = attempt(card, tmp_path / "tries", write_pack(tmp_path, "mine", name=name), per_class=1)
    run_folder = done.folder / done.manifest.packs[0].folder
    assert run_folder.resolve().parent == done.folder.resolve()
    assert (run_folder / "manifest.json").is_file()
    write_trial_page(done, card.parent)


def test_the_same_prompt_twice_is_refused(card, tmp_path, a):
    copy = shutil.copy(a, tmp_path / "copy.yaml")
    for prompts in ((a, str(copy)), (a, a)):
        with pytest.raises(ValueError, match="ask the same: give one"):
            attempt(card, tmp_path / "tries", *prompts)
    with pytest.raises(ValueError, match="no prompt to try"):
        attempt(card, tmp_path / "tries")


@pytest.mark.parametrize("fields", [{"worker": "1/2"}, {"dry_run": True}])
def test_workers_and_dry_runs_are_refused(card, tmp_path, a, fields):
    with pytest.raises(ValueError, match="neither workers nor a dry run"):
        attempt(card, tmp_path / "tries", a, **fields)


def test_one_writer_for_a_folder_of_tries(card, tmp_path, a):
    (tmp_path / "tries").mkdir()
    with lock_run(tmp_path / "tries", None), pytest.raises(RunLockedError):
        attempt(card, tmp_path / "tries", a)


@pytest.mark.parametrize(
    ("prompts", "shared"), [(["multiview", "per-view"], True), (["figure", "caption"], False)]
)
def test_the_engine_shares_images_when_a_pack_asks_by_view(card, tmp_path, monkeypatch, prompts, shared):
    seen = []
    monkeypatch.setattr(
        trial_run,
        "open_engine",
        lambda *_, share_images, **_more: (seen.append(share_images), KnownEngine())[1],
    )
    run_trial(config(card, tmp_path / "tries", per_class=1), prompts)
    assert seen == [shared]


def test_a_server_is_tried_too(card, tmp_path, a, b, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with BadServer() as server:
        settings = config(
            card, tmp_path / "tries", engine="openai", model="painter", per_class=3,
            server=ServerOptions(base_url=server.url),
        )  # fmt: skip
        done = run_trial(settings, [a, b])
        asked = [seen.parts[1]["text"].split()[0] for seen in server.seen]
    assert (asked.count("alpha"), asked.count("beta")) == (6, 6)
    assert done.manifest.engine == "openai"
    assert [stats["ok"] for stats in done.stats] == [6, 6]


def test_a_view_that_is_not_asked_stays_null_in_rows_that_are_whole(card, tmp_path):
    run(config(card, tmp_path / "out", prompt="caption"))
    for row in read_descriptions(tmp_path / "out").to_pylist():
        assert row["status"] == "ok" and row["content"].startswith("content of")
        assert (row["style"], row["intention"], row["details"]) == (None, None, None)
    assert verify_run(tmp_path / "out") == []
    stats = json.loads((tmp_path / "out" / "stats.json").read_text())
    assert stats["distinct_texts"] == {"content": 40}
    run(config(card, tmp_path / "other"))
    shutil.copy(tmp_path / "out" / "manifest.json", tmp_path / "other" / "manifest.json")
    assert any("contradicts its own status" in problem for problem in verify_run(tmp_path / "other"))


# What was tried


def test_history_lists_every_pack_of_every_try_with_its_score(card, tmp_path, a, b):
    engine = Tellers(lambda number, prompt, views: "no" if prompt == "beta" and number == 1 else views)
    first = attempt(card, tmp_path / "tries", a, engine=engine, per_class=2)
    second = attempt(card, tmp_path / "tries", a, b, engine=engine, where=("label=dark",), limit=9)
    score = {"accuracy": 0.5, "f1_macro": 0.4, "interval": [0.3, 0.7], "more": 1}
    folder = second.folder / second.manifest.packs[1].folder
    (folder / "score.json").write_text(json.dumps(score))
    entries, notes = read_history(tmp_path / "tries")
    assert notes == []
    assert [(entry.folder, entry.pack.title) for entry in entries] == [
        (first.folder, "alpha"), (second.folder, "alpha"), (second.folder, "beta"),
    ]  # fmt: skip
    found = entries[2]
    assert (found.status["ok"], found.status["failed"]) == (8, 1)
    assert found.score == (0.5, 0.4, 0.3, 0.7)
    assert entries[0].score is None
    assert found.manifest.subset.words() == "where label=dark, where split!=test, first 9"
    assert [entry.pack.title for entry in read_history(second.folder)[0]] == ["alpha", "beta"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"accuracy": 1}',
        '{"accuracy": "x", "f1_macro": 1, "interval": [1, 2]}',
        '{"accuracy": NaN, "f1_macro": 1, "interval": [1, 2]}',
        '{"accuracy": 1, "f1_macro": 1, "interval": [1]}',
    ],
)
def test_a_score_that_cannot_be_read_is_said(card, tmp_path, a, content):
    done = attempt(card, tmp_path / "tries", a, per_class=1)
    (done.folder / done.manifest.packs[0].folder / "score.json").write_text(content)
    entries, notes = read_history(tmp_path / "tries")
    assert entries[0].score is None
    assert len(notes) == 1 and "score.json cannot be read" in notes[0]


def test_a_damaged_try_hides_no_other_and_stops_no_new_one(card, tmp_path, a, b):
    first = attempt(card, tmp_path / "tries", a, per_class=1)
    attempt(card, tmp_path / "tries", b, per_class=1)
    manifest = first.folder / "try.json"
    manifest.write_text(manifest.read_text().replace('"alpha-', '"../alpha-'))
    entries, notes = read_history(tmp_path / "tries")
    assert [entry.pack.title for entry in entries] == ["beta"]
    assert len(notes) == 1 and "is damaged or was changed" in notes[0]
    assert attempt(card, tmp_path / "tries", a, per_class=1).folder.name == "try-003"


def test_a_folder_without_tries_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no trial: make one with"):
        read_history(tmp_path)


# The summary


def test_summary_counts_and_escapes(card, tmp_path, a):
    evil = write_pack(tmp_path, "evil", name="b|d <b>*x*</b>")
    engine = Tellers(lambda number, prompt, views: "no" if prompt == "evil" and number == 1 else views)
    done = attempt(card, tmp_path / "tries", a, evil, engine=engine, limit=4)
    text = write_trial_page(done, card.parent)[1].read_text(encoding="utf-8")
    lines = text.splitlines()
    table = [line for line in lines if line.startswith("| ")]
    assert table[1].startswith("| alpha | joint, en | 4 | 0 | 28 | 36 | 9.0 | content 8.0, ")
    assert table[1].endswith("content 4, style 4, intention 4, details 4 | 4 |")
    assert table[2].startswith(r"| b\|d \<b\>\*x\*\</b\> | joint, en | 3 | 1 |") and table[2].endswith(
        "| 0 |"
    )
    assert any("1 failed, the answer is no valid JSON" in line for line in lines)


@pytest.mark.parametrize(
    ("text", "count"),
    [("a cat's paw, 3 of them", 6), ("画风可爱 cat", 5), ("かわいい猫", 5), ("", 0), ("...", 0)],
)
def test_words_are_counted(text, count):
    assert count_words(text) == count
