"""The number format of an engine on a CPU: the one that the processor computes fast.

vLLM's "auto" takes the checkpoint's, mostly bfloat16. A processor without instructions for it emulates every
product: the shipped stand-in then describes a third as many stickers a second as in float32.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import psutil

from mghft.pipeline.engines.model_source import WEIGHTS
from mghft.pipeline.processor import processor_flags

NumberFormat = Literal["auto", "float32", "bfloat16", "float16"]

# What Linux calls the instructions that multiply bfloat16: Intel's since Sapphire Rapids, AMD's since Zen 4.
FAST_BFLOAT16 = frozenset({"amx_bf16", "avx512_bf16"})
# Less than this is lost again where nothing is multiplied.
_WORTH_IT = 1.1


def fast_format(location: str) -> NumberFormat:
    """Return the format that "auto" means on this machine.

    With a GPU that is "auto", the checkpoint's own. On a CPU it is float32, unless the processor has
    instructions for bfloat16 and they pay in a trial product, or the weights of a local model would not fit
    into memory in float32.

    Args:
        location: folder of the model, or hub id.
    """
    import torch

    if torch.cuda.is_available():
        return "auto"
    if not _fits_in_float32(location):
        return "bfloat16"
    return "bfloat16" if FAST_BFLOAT16 & processor_flags() and _bfloat16_pays() else "float32"


def _bfloat16_pays() -> bool:
    """Return whether a product of the sizes in a small language model is faster in bfloat16."""
    import torch

    best = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    for _ in range(5):
        for dtype in best:
            tokens, weights = torch.ones(256, 768, dtype=dtype), torch.ones(768, 768, dtype=dtype)
            began = time.perf_counter()
            torch.nn.functional.linear(tokens, weights)
            best[dtype] = min(best[dtype], time.perf_counter() - began)
    return best[torch.bfloat16] * _WORTH_IT < best[torch.float32]


def _fits_in_float32(location: str) -> bool:
    """Return whether twice a local model's weights (in half precision) take at most 4/5 of the memory."""
    folder = Path(location)
    weights = sum(path.stat().st_size for path in folder.glob(WEIGHTS)) if folder.is_dir() else 0
    return bool(2 * weights <= 0.8 * psutil.virtual_memory().total)
