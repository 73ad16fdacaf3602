"""The processor that a run computes on: sums of floats depend on its instructions, figures on these sums."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import NotRequired, TypedDict

# Instruction sets that decide how products are computed, by Linux' names, older first.
TOLD = ("avx", "fma", "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16")
# What restricts torch and its libraries to fewer.
LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
_CPUINFO = Path("/proc/cpuinfo")


class Processor(TypedDict):
    """A processor, its instruction sets of `TOLD`, and the limits set in the environment."""

    name: str
    instructions: str
    limits: NotRequired[dict[str, str]]


def processor() -> Processor:
    """Return the processor of this machine; a system that does not tell it gives its architecture alone."""
    flags = processor_flags()
    facts: Processor = {
        "name": _field("model name") or platform.machine(),
        "instructions": " ".join(name for name in TOLD if name in flags),
    }
    if limits := {name: os.environ[name] for name in LIMITS if name in os.environ}:
        facts["limits"] = limits
    return facts


def processor_flags() -> frozenset[str]:
    """Return the instruction sets of the processor as Linux names them; empty where it does not tell."""
    return frozenset(_field("flags").split())


def _field(name: str) -> str:
    """Return a field of the first processor in /proc/cpuinfo; empty where there is none."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
