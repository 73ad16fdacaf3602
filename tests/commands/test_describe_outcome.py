"""How `mghft describe` ends: the last line and the code say what the run came to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bad_server import GOOD, BadServer, Seen, Step
from describe_bench import make_corpus
from trial_bench import write_pack

UNUSABLE = Step(message={"content": "no JSON at all"})


@pytest.fixture
def card(tmp_path: Path) -> Path:
    return make_corpus(tmp_path / "data", 40)


def arguments(card: Path, server: BadServer, out: Path, *more: object) -> list[object]:
    return [
        *("describe", card, "--data", card.parent, "--out", out, "--engine", "openai", "--model", "painter"),
        *("--base-url", server.url, *more),
    ]


def test_nothing_described_is_exit_1_also_when_it_is_started_again(
    mghft: Any, card: Path, tmp_path: Path
) -> None:
    with BadServer(lambda number, seen: UNUSABLE) as server:
        command = arguments(card, server, tmp_path / "out", "--limit", 4)
        for _ in range(2):
            done = mghft(*command)
            assert done.code == 1
            assert "failed: 4" in done.out
            last = done.err.splitlines()[-1]
            assert last.startswith(
                "error: none of 4 stickers was described, because: the answer is no valid JSON"
            )
            assert "--retry-failed" in last
    assert len(server.seen) == 4


def test_twenty_unusable_answers_end_a_run_unless_told_to_go_on(
    mghft: Any, card: Path, tmp_path: Path
) -> None:
    with BadServer(lambda number, seen: UNUSABLE) as server:
        done = mghft(*arguments(card, server, tmp_path / "out", "--concurrency", 2))
        assert done.code == 1
        assert "all of the first 2" in done.err.splitlines()[-1]
        assert len(server.seen) < 30
        done = mghft(*arguments(card, server, tmp_path / "out", "--no-early-stop"))
    assert done.code == 1
    assert "none of 40 stickers was described" in done.err.splitlines()[-1]


def test_many_failures_are_said_last(mghft: Any, card: Path, tmp_path: Path) -> None:
    script = lambda number, seen: UNUSABLE if seen.image.getpixel((0, 0))[0] < 6 else GOOD  # noqa: E731
    with BadServer(script) as server:
        done = mghft(*arguments(card, server, tmp_path / "out"))
        assert done.code == 0
        assert done.err.splitlines()[-1].startswith("warning: 6 of 40 stickers failed (15.0 %), most often: ")
        done = mghft(*arguments(card, server, tmp_path / "out", "--failed-limit", 0.2))
    assert done.code == 0
    assert "warning" not in done.err
    assert len(server.seen) == 40


def test_a_dry_run_of_failures_is_exit_1(mghft: Any, card: Path, tmp_path: Path) -> None:
    with BadServer(lambda number, seen: UNUSABLE) as server:
        done = mghft(*arguments(card, server, tmp_path / "out", "--dry-run"))
    assert done.code == 1
    assert "because: the answer is no valid JSON" in done.err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_an_unknown_proxy_ends_the_command_at_once_and_names_the_variable(
    mghft: Any, card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks://me:hush@127.0.0.1:7891/")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    command = ["describe", card, "--data", card.parent, "--out", tmp_path / "out", "--engine", "openai"]
    done = mghft(*command, "--model", "painter", "--base-url", "https://models.invalid/v1")
    assert done.code == 2
    last = done.err.splitlines()[-1]
    assert last.startswith("error: the proxy in the environment variable ALL_PROXY is of the kind socks://")
    assert "hush" not in done.err


def test_a_trial_says_which_prompt_described_nothing(mghft: Any, card: Path, tmp_path: Path) -> None:
    """After its page, on which the answers can be looked at."""
    packs = []
    for name in ("alpha", "beta"):
        packs += ["--prompt", write_pack(tmp_path, name)]

    def script(number: int, seen: Seen) -> Step:
        return GOOD if seen.parts[1]["text"].startswith("alpha") else UNUSABLE

    command = ["prompts", "try", card, "--data", card.parent, "--out", tmp_path / "tries", *packs]
    with BadServer(script) as server:
        done = mghft(*command, *("--engine", "openai", "--model", "painter", "--base-url", server.url))
    assert done.code == 1
    assert "page: " in done.out
    assert "none of 16 stickers was described" in done.err.splitlines()[-1]
    assert "/beta-" in done.err.splitlines()[-1]
