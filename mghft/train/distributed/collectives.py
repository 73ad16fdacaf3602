"""Values that the processes of one run agree upon; with a single process nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from accelerate.utils import broadcast_object_list  # type: ignore[import-untyped]

T = TypeVar("T")

# Words of gloo, NCCL and the store for a process that has ended.
_GONE = (
    "connection closed",
    "connection reset",
    "broken pipe",
    "connection refused",
    "remote process",
    "nccl",
)


class ProcessLostError(RuntimeError):
    """Another process of the run is gone."""

    exit_code = 1


def all_reduce_mean(
    accelerator: Accelerator, values: dict[str, float], stop: bool
) -> tuple[dict[str, float], bool]:
    """Return means of the values, and whether any process wants to stop: all leave after the same step."""
    if accelerator.num_processes == 1:
        return values, stop
    row = torch.tensor([*values.values(), float(stop)], dtype=torch.float64, device=accelerator.device)
    means = accelerator.reduce(row, reduction="mean").tolist()
    return dict(zip(values, means[:-1], strict=True)), means[-1] > 0


def broadcast_from_main(accelerator: Accelerator, make: Callable[[], T]) -> T:
    """Return in every process what `make` returns in the main process, which alone calls it."""
    objects = [make() if accelerator.is_main_process else None]
    if accelerator.num_processes > 1:
        broadcast_object_list(objects)
    return objects[0]  # type: ignore[return-value]


@contextmanager
def processes_watched(accelerator: Accelerator) -> Iterator[None]:
    """Turn what a broken connection raises into one sentence.

    Raises:
        ProcessLostError: the block failed because another process of the run is gone.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error).lower()
        if accelerator.num_processes == 1 or not any(word in text for word in _GONE):
            raise
        raise ProcessLostError(
            f"another process of this run is gone ({' '.join(str(error).split())[:120]}), so training stops: "
            "what the last checkpoint holds is kept, go on with --resume"
        ) from error
