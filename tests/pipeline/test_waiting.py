"""Words while nothing else is said: in time, on standard error, and none where they are not wanted."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mghft.pipeline import waiting

SCRIPT = """
import sys, time
from mghft.pipeline import waiting
waiting._FIRST, waiting._SILENCE, waiting._POLL = 0.3, 0.6, 0.02
{before}
with waiting.watched("work"):
    {inside}
"""


def run(inside: str, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(inside=inside, before=before)],
        capture_output=True,
        text=True,
        env={**os.environ, "MGHFT_WAITING": "1", **environment},
        check=True,
    )


def test_silence_is_explained_again_and_again() -> None:
    done = run("time.sleep(0.7); waiting.now_doing('reading'); time.sleep(1.3); print('result')")
    lines = done.stderr.splitlines()
    assert lines[0].startswith("mghft work: loading, ")
    assert len([line for line in lines if line.startswith("mghft work: reading, ")]) >= 2
    assert done.stdout == "result\n"


def test_whoever_speaks_is_not_spoken_over() -> None:
    done = run("[(print(n, file=sys.stderr, flush=True), time.sleep(0.1)) for n in range(12)]")
    assert done.stderr.splitlines() == [str(n) for n in range(12)]


@pytest.mark.parametrize(
    ("before", "environment"),
    [
        ("waiting.be_quiet()", {}),
        ("waiting.now_doing(None)", {}),
        ("", {"RANK": "1"}),
        ("", {"MGHFT_WAITING": "0"}),
    ],
)
def test_nothing_is_said_where_it_is_not_wanted(before: str, environment: dict[str, str]) -> None:
    assert run("time.sleep(1)", before, **environment).stderr == ""


def test_silence_is_explained_although_standard_error_leads_elsewhere() -> None:
    inside = "\n    ".join(
        [
            "import os",
            "with waiting.noise_kept():",
            "    os.write(2, b'noise')",
            "    time.sleep(0.8)",
            "print('after', file=sys.stderr)",
        ]
    )
    lines = run(inside).stderr.splitlines()
    assert lines[0].startswith("mghft work: loading, ") and lines[-1] == "after"
    assert not any("noise" in line for line in lines)


def test_noise_is_shown_where_it_explains_a_failure(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with waiting.noise_kept():
            os.write(2, b"what a library says\n")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert "what a library says" in capfd.readouterr().err
    with waiting.noise_kept() as noise:
        os.write(2, b"first\n")
    assert capfd.readouterr().err == "" and noise is not None
    noise.show()
    assert "first" in capfd.readouterr().err
    noise.close()


def test_streams_stay_streams() -> None:
    stream = io.StringIO()
    heard = waiting.Watch("x", io.StringIO()).wrap(stream)
    print("a", file=heard)
    heard.flush()
    assert stream.getvalue() == "a\n" and not heard.isatty()


def test_command_speaks_before_torch_is_there(tmp_path: Path) -> None:
    """The first line within two seconds, on a busy machine some more; the sentence follows at once."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "mghft", "train", "emoji", "--data", tmp_path, "--out", "run", "--no-text"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MGHFT_WAITING": "1"},
    )
    assert process.stderr is not None
    first = process.stderr.readline()
    assert time.monotonic() - began < 10
    process.communicate()
    assert first
