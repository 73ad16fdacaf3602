"""Long work says how far it is: a line now and then in a log, a bar in a terminal, nothing where unwanted."""

from __future__ import annotations

import io
import sys

import pytest

from mghft.pipeline import progress
from mghft.pipeline.progress import bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(**options: object) -> None:
    with bar("text", "encoding texts", **options) as advance:  # type: ignore[arg-type]
        for done in (64, 128, 130):
            advance(done, 130)


def test_line_in_a_log_says_what_how_much_and_how_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.0)
    work()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("encoding texts: 64/130 texts, ") and lines[0].endswith(" s left")
    assert lines[-1] == "encoding texts: 130/130 texts, 0 s left"


def test_short_work_leaves_a_log_alone(capsys: pytest.CaptureFixture[str]) -> None:
    work()
    assert capsys.readouterr().err == ""


def test_bar_of_a_terminal_goes_away_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    work()
    shown = terminal.getvalue()
    assert "encoding texts:" in shown and "/130" in shown
    assert shown.rstrip(" ").endswith("\r")


def test_nothing_is_shown_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.0)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    work(shown=False)
    assert terminal.getvalue() == ""
