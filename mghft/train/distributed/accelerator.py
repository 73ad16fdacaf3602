"""Accelerate, set up for a run."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from accelerate.state import AcceleratorState  # type: ignore[import-untyped]
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs  # type: ignore[import-untyped]

from mghft.train.distributed.fsdp import fsdp_plugin, shard_on_any_device

_LONGEST_WAIT = timedelta(hours=4)


def build_accelerator(mixed_precision: str) -> Accelerator:
    """Set accelerate up on the devices of this machine.

    Args:
        mixed_precision: "no", "fp16", "bf16", or "auto": bf16 or fp16 on a GPU and none on a CPU.

    Raises:
        ValueError: accelerate's configuration wants what this trainer does not do; one sentence.
    """
    if mixed_precision == "auto":
        cuda = torch.cuda.is_available()
        mixed_precision = ("bf16" if torch.cuda.is_bf16_supported() else "fp16") if cuda else "no"
    handlers = [
        DistributedDataParallelKwargs(find_unused_parameters=True),
        # The others wait while the first process fills the cache, for longer than NCCL's 10 minutes.
        InitProcessGroupKwargs(timeout=_LONGEST_WAIT),
    ]
    # Without a GPU accelerate joins the processes of torchrun only when told that they compute on the CPU.
    cpu = int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.accelerator.is_available()
    rank, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if count and rank >= count:
        raise ValueError(
            f"more processes than GPUs ({count}) were started on this machine: start {count} at most"
        )
    plugin = fsdp_plugin()
    _forget_other_precision(mixed_precision)
    accelerator = Accelerator(
        cpu=cpu, mixed_precision=mixed_precision, fsdp_plugin=plugin, kwargs_handlers=handlers
    )
    if accelerator.distributed_type.value in ("DEEPSPEED", "MEGATRON_LM"):
        raise ValueError(
            f"accelerate is set to {accelerator.distributed_type.value}, which this trainer does not do: "
            "choose MULTI_GPU or FSDP in the accelerate configuration (docs/distributed.md)"
        )
    if plugin is not None:
        shard_on_any_device(accelerator, plugin)
    return accelerator


def _forget_other_precision(mixed_precision: str) -> None:
    """Make room for a run of another precision, after those that one process judged before.

    accelerate keeps one precision for a process and refuses another; it has no public way to change it. What
    was built before is done with by then; the processes stay connected.
    """
    state = AcceleratorState._shared_state
    if state and state.get("_mixed_precision") != mixed_precision:
        AcceleratorState._reset_state()
