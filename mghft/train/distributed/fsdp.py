"""FSDP: weights, gradients and optimizer lie in shards over the processes, as accelerate is told.

Only the steps work on shards. Files hold full tensors under the names of an unsharded run, and every process
predicts with a full copy of the model, so processes may predict unequal numbers of stickers.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedType  # type: ignore[import-untyped]
from accelerate.utils import FullyShardedDataParallelPlugin, convert_to_fp32  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.distributed.fsdp import CPUOffloadPolicy
from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy
from torch.distributed.tensor import DTensor, distribute_tensor

from mghft.model.joint import Trained, TunedMGHFT, load_weights
from mghft.model.mghft import MGHFTOutput
from mghft.model.pvt import Block

# Parameters and buffers.
_Tensors = tuple[list[Tensor], list[Tensor]]


class Weights:
    """Weights of a run, or their EMA: those of a module, or shards that a module is filled from."""

    def __init__(self, module: Trained, shards: _Tensors | None = None) -> None:
        """
        Args:
            module: where there are shards, a full copy of what they were when last asked for.
            shards: parameters and buffers that are trained, in the order of the module's.
        """
        self._module, self.sharded = module, shards is not None
        self._parameters, self._buffers = shards or _tensors(module)

    def full_model(self) -> Trained:
        """Return the module with the current weights; all processes have to ask together."""
        if self.sharded:
            self._pairwise(lambda full, shard: full.copy_(full_tensor(shard)))
        return self._module

    def load(self, folder: Path) -> None:
        """Load what `full_model().save_pretrained(folder)` wrote."""
        load_weights(self._module, folder)
        if self.sharded:
            self._pairwise(lambda full, shard: shard.copy_(shard_like(full, shard)))

    def ema(self) -> Weights:
        """Return an exponential moving average that begins with these weights, in shards where they are."""
        module = copy.deepcopy(self._module).eval().requires_grad_(False)
        if not self.sharded:
            return Weights(module)
        parameters, buffers = (
            [value.detach().clone() for value in values] for values in (self._parameters, self._buffers)
        )
        return Weights(module, (parameters, buffers))

    @torch.no_grad()
    def update(self, weights: Weights, *, decay: float, step: int) -> None:
        """Move this EMA towards the weights after a step; buffers are copied."""
        rate = ema_update_rate(decay, step)
        for mean, value in zip(self._parameters, weights._parameters, strict=True):
            _local(mean).lerp_(_local(value), rate)
        for mean, value in zip(self._buffers, weights._buffers, strict=True):
            mean.copy_(value)

    @torch.no_grad()
    def _pairwise(self, act: Callable[[Tensor, Tensor], Any]) -> None:
        parameters, buffers = _tensors(self._module)
        shards = [*self._parameters, *self._buffers]
        for full, shard in zip([*parameters, *buffers], shards, strict=True):
            act(full, shard)


def prepare(
    accelerator: Accelerator, model: Trained, optimizer: torch.optim.Optimizer
) -> tuple[nn.Module, Any, Weights]:
    """Return the model to call, the optimizer to step, and the weights behind them."""
    if accelerator.distributed_type != DistributedType.FSDP:
        called, optimizer = accelerator.prepare(model, optimizer)
        return called, optimizer, Weights(model)
    full = copy.deepcopy(model).to(accelerator.device).requires_grad_(False)
    plugin = accelerator.state.fsdp_plugin
    if plugin.transformer_cls_names_to_wrap is None:
        plugin.transformer_cls_names_to_wrap = _blocks(model)
    forward = model.forward

    def called_forward(*arguments: Any, **named: Any) -> MGHFTOutput:
        with accelerator.autocast():
            output: MGHFTOutput = convert_to_fp32(forward(*arguments, **named))
        # Gradients come through the losses and logits alone; FSDP watches every tensor that has some.
        return output._replace(
            **{
                name: value.detach()
                for name in ("visual_tokens", "text_tokens", "view_embeddings")
                if (value := getattr(output, name, None)) is not None
            }
        )

    model.forward = called_forward  # type: ignore[method-assign]
    called, optimizer = accelerator.prepare(model, optimizer)
    return called, optimizer, Weights(full, _tensors(called))


def _blocks(model: Trained) -> list[str]:
    """Return the classes whose weights are gathered together: the layers of PVT and of the text encoder."""
    names = [Block.__name__]
    if isinstance(model, TunedMGHFT):
        names += getattr(model.language, "_no_split_modules", None) or []
    return names


def fsdp_plugin() -> FullyShardedDataParallelPlugin | None:
    """Return accelerate's plugin for FSDP, None where nothing is to be sharded.

    Raises:
        ValueError: accelerate's configuration wants what this trainer does not do; one sentence.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return None
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise _refused("version 1 of FSDP", "set fsdp_version: 2")
    # Every process reads the weights itself; else transformers leaves all but the first with random ones.
    plugin = FullyShardedDataParallelPlugin(cpu_ram_efficient_loading=False)
    if isinstance(plugin.cpu_offload, CPUOffloadPolicy):
        raise _refused("fsdp_offload_params", "leave it out")
    if plugin.activation_checkpointing:
        # accelerate does not keep the state of the generators for the second pass.
        raise _refused(
            "fsdp_activation_checkpointing",
            "its gradients are of other dropouts than its losses, leave it out",
        )
    if plugin.auto_wrap_policy is size_based_auto_wrap_policy:
        # It treats lists of modules as modules.
        raise _refused("SIZE_BASED_WRAP", "set fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP or NO_WRAP")
    return plugin


def _refused(name: str, instead: str) -> ValueError:
    return ValueError(
        f"accelerate is set to {name}, which this trainer does not do: {instead} in the accelerate "
        "configuration (docs/distributed.md)"
    )


def shard_on_any_device(accelerator: Accelerator, plugin: FullyShardedDataParallelPlugin) -> None:
    """Shard on CPUs too, which accelerate does not."""
    # Autocast as in every other run: weights stay in float32, and the same operations are in half precision.
    plugin.mixed_precision_policy = None
    if accelerator.num_processes > 1:
        accelerator.state.fsdp_plugin = plugin
        accelerator.state.distributed_type = DistributedType.FSDP


def full_state(optimizer: Any) -> dict[str, Any]:
    """Return `state_dict()` with full tensors; all processes have to ask together."""
    content: dict[str, Any] = optimizer.state_dict()
    state = {
        number: {name: full_tensor(value) for name, value in values.items()}
        for number, values in content["state"].items()
    }
    return {**content, "state": state}


def load_full_state(optimizer: Any, content: dict[str, Any]) -> None:
    """Load what `full_state` returned, in shards where the parameters are.

    Raises:
        ValueError: it is of other parameters.
    """
    parameters = [value for group in optimizer.param_groups for value in group["params"]]
    state = {
        number: {name: shard_like(value, parameters[number]) for name, value in values.items()}
        for number, values in content["state"].items()
        if number < len(parameters)
    }
    optimizer.load_state_dict({**content, "state": state})


def full_tensor(value: Any) -> Any:
    """Return the full tensor of a sharded one, anything else as it is."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def shard_like(value: Any, other: Tensor) -> Any:
    """Return a full tensor in shards like those of another tensor, if that has any and the same shape."""
    if not (isinstance(other, DTensor) and isinstance(value, Tensor) and value.shape == other.shape):
        return value
    return distribute_tensor(value.to(other.device), other.device_mesh, other.placements)


def _local(value: Tensor) -> Tensor:
    return value.to_local() if isinstance(value, DTensor) else value


def _tensors(module: nn.Module) -> _Tensors:
    return list(module.parameters()), list(module.buffers())


def ema_update_rate(decay: float, step: int) -> float:
    """Return how far the EMA moves towards the weights; far at first, to forget the beginning."""
    return 1 - min(decay, (1 + step) / (10 + step))
