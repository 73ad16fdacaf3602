"""Progress of long work, above all a describe run: a bar in a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from mghft.pipeline.waiting import is_quiet, now_doing, speaker

# Takes how much is done, and how much there is in all.
Advance = Callable[[int, int], None]

# Between two lines of news at first, and when somebody reads a long log.
_LINE_SECONDS, _LATER_SECONDS = 5.0, 15.0
_LATER = 60.0


class Progress:
    """Counts of rows and tokens of this process; a context manager around the work.

    Args:
        total: stickers of the selection.
        resumed: how many of them had a row before.
        recovered: rows that came back from the journal of a killed process.
        reused: rows taken over from other runs.
    """

    def __init__(self, total: int, resumed: int, recovered: int = 0, reused: int = 0) -> None:
        self.total, self.resumed, self.recovered, self.reused = total, resumed, recovered, reused
        self.rows = self.failed = self.prompt_tokens = self.output_tokens = 0
        self.engine_seconds = self.seconds = 0.0
        self._bar: tqdm[None] | None = None

    def __enter__(self) -> Progress:
        self._began = self._said = time.monotonic()
        if sys.stderr.isatty() and not is_quiet():
            self._bar = tqdm(
                total=self.total, initial=self.resumed + self.reused, unit="sticker", dynamic_ncols=True
            )
        return self

    def engine_is_up(self, seconds: float) -> None:
        """Note and say how long the engine took to start; the clock of the work begins here."""
        self.engine_seconds = seconds
        self._began = self._said = time.monotonic()
        if self._bar is None:
            recovered = f", {self.recovered} rows recovered from a killed run" if self.recovered else ""
            reused = f", {self.reused} rows reused" if self.reused else ""
            remaining = self.total - self.resumed - self.reused
            say(f"engine up after {seconds:.1f} s; {remaining} stickers to do{recovered}{reused}")

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._began
        if self._bar is not None:
            self._bar.close()

    def advance(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Count finished rows and show them."""
        self.rows += len(rows)
        self.failed += sum(row["status"] == "failed" for row in rows)
        self.prompt_tokens += sum(row["prompt_tokens"] or 0 for row in rows)
        self.output_tokens += sum(row["output_tokens"] or 0 for row in rows)
        self.seconds = time.monotonic() - self._began
        if self._bar is not None:
            self._bar.update(len(rows))
            rate = self.output_tokens / max(self.seconds, 1e-9)
            self._bar.set_postfix_str(f"{rate:.0f} tokens/s, {self.failed} failed, {self.resumed} resumed")
        elif time.monotonic() - self._said >= _pause(self.seconds):
            self._said = time.monotonic()
            rate = self.rows / max(self.seconds, 1e-9)
            done = self.resumed + self.reused + self.rows
            seconds = (self.total - done) / max(rate, 1e-9)
            say(
                f"{done}/{self.total} stickers, {rate:.1f} stickers/s, "
                f"{self.failed} failed, {seconds:.0f} s left"
            )

    def rates(self) -> dict[str, float]:
        """Return stickers and tokens per second of this process, the engine's start left out."""
        seconds = max(self.seconds, 1e-9)
        return {
            "stickers_per_second": round(self.rows / seconds, 4),
            "output_tokens_per_second": round(self.output_tokens / seconds, 1),
            "prompt_tokens_per_second": round(self.prompt_tokens / seconds, 1),
        }


@contextmanager
def bar(unit: str = "image", doing: str = "", shown: bool = True) -> Iterator[Advance]:
    """Yield a function to report progress to: a bar in a terminal, a line now and then elsewhere.

    Args:
        doing: said before the numbers, such as "reading images".
    """
    if shown and doing:
        now_doing(doing)
    began = said = time.monotonic()
    drawn: tqdm[None] | None = None

    def advance(done: int, total: int) -> None:
        nonlocal said, drawn
        if not shown or is_quiet():
            return
        if sys.stderr.isatty():
            drawn = drawn or tqdm(total=total, unit=unit, desc=doing or None, dynamic_ncols=True, leave=False)
            drawn.update(done - drawn.n)
        elif (now := time.monotonic()) - said >= _pause(now - began):
            said, seconds = now, (now - began) / max(done, 1) * (total - done)
            before = f"{doing}: " if doing else ""
            print(f"{before}{done}/{total} {unit}s, {seconds:.0f} s left", file=sys.stderr, flush=True)

    try:
        yield advance
    finally:
        if drawn is not None:
            drawn.close()


def say(line: str) -> None:
    """Print a line of news on standard error, above a bar where one is drawn."""
    if not is_quiet():
        tqdm.write(f"{speaker()}: {line}", file=sys.stderr)


def _pause(seconds: float) -> float:
    """Return the seconds between two lines after so many of work."""
    return _LINE_SECONDS if seconds < _LATER else _LATER_SECONDS
