"""What a run came to, said in time: it stops when nothing is usable, and a share of failures is no secret."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from mghft.pipeline.describe.config import RunOptions
from mghft.pipeline.errors import NothingDescribedError
from mghft.pipeline.runs.rows import Row
from mghft.pipeline.runs.status import RunStats, failed_warning
from mghft.pipeline.text import plural

# Unusable answers before the first usable one that say: it is not the stickers.
UNUSABLE_ANSWERS = 20


class EarlyStop:
    """Watches the first answers of a run.

    Args:
        out: run folder.
        described: whether the run has a good row from before, so that its settings are fine, or is not
            to stop.
    """

    def __init__(self, out: Path, *, described: bool) -> None:
        self._out, self._described = out, described
        self._reasons: Counter[str] = Counter()

    def take(self, rows: Iterable[Row]) -> None:
        """Look at finished rows, which are kept already.

        Raises:
            NothingDescribedError: the first answers were all unusable.
        """
        if self._described:
            return
        for row in rows:
            if row["status"] == "ok":
                self._described = True
                return
            # A file that is no image was not asked about.
            if row["raw"] is not None:
                self._reasons[row["error"] or ""] += 1
        count = self._reasons.total()
        if count >= UNUSABLE_ANSWERS:
            raise NothingDescribedError(
                f"all of the first {count} answers are unusable, {_most_often(self._reasons)}: "
                "mend the cause and start again with --retry-failed (other settings need another --out), "
                f"see them with `mghft failed {self._out}`, or go on as it is with --no-early-stop"
            )


def judge_run(stats: RunStats, options: RunOptions) -> str | None:
    """Return what is to be said last about a finished run, None for nothing.

    Raises:
        NothingDescribedError: it has no description at all.
    """
    look = f"see `mghft failed {options.out}`"
    advice = f"{look}, mend the cause and ask again with --retry-failed"
    check_described(stats["rows"], stats["ok"], stats["failures"], advice)
    warning = failed_warning(stats, options.failed_limit)
    return None if warning is None else f"{warning}: {look}"


def check_described(rows: int, ok: int, reasons: Mapping[str, int], look: str) -> None:
    """Check that there is a description at all.

    Args:
        rows: stickers that were to be described.
        ok: those of them that were.
        reasons: how often each reason of failure occurs.
        look: what to do about it.

    Raises:
        NothingDescribedError: there is none.
    """
    if rows and not ok:
        raise NothingDescribedError(
            f"none of {plural(rows, 'sticker')} was described, {_most_often(reasons)}: {look}"
        )


def _most_often(reasons: Mapping[str, int]) -> str:
    reason, count = max(reasons.items(), key=lambda entry: entry[1], default=("for no known reason", 0))
    return f"{'' if count == sum(reasons.values()) else f'{count} of them '}because: {reason}"
