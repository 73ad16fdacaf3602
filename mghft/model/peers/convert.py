"""Checkpoints of the released LORA and TGCA-PVT code, and PVT's ImageNet files, put into a peer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from mghft.model.peers.base import Peer
from mghft.model.peers.build import build_network
from mghft.model.peers.config import TITLES, Network, PeerConfig
from mghft.model.peers.frequency import SQUEEZE
from mghft.model.peers.official_names import split_released
from mghft.model.peers.token_encoder import TEXT_LENGTH
from mghft.model.weights_shapes import backbone_fields, contradiction

# Created by the released code and never read by it, beside what hangs on the stages.
_UNREAD_NORM = re.compile(r"fusion\.attention\.norm\.(weight|bias)")
_EMPTY_GATE = re.compile(r"frequency\.([0-3])\.(real|imaginary)_gate\.(reduce|expand)\.weight")
_OF_STAGE = re.compile(r"(topic_contexts|local_projections|global_projections)\.([0-3])\.")


class ReleasedPeer:
    """A released checkpoint, taken apart; `network` and `fields` are read off its names and shapes."""

    def __init__(
        self,
        path: Path,
        state: Mapping[str, Tensor],
        network: Network,
        *,
        num_heads: Any = None,
        stored_locals: Any = None,
    ) -> None:
        """
        Args:
            num_heads: of the stages, which leave no trace in shapes; default: PVT's.
            stored_locals: `args.locals` of the checkpoint, if it has that: a flag for each stage.

        Raises:
            ValueError: a parameter is foreign to the network, one that tells the shape is missing, or the
                released code does not run with these local stages.
        """
        self.path, self.network, self.title = path, network, TITLES[network]
        self.tensors, self.encoder, self.origin = split_released(state, self.title)
        self._check_last_stage(stored_locals)
        self.fields = self._read_fields({} if num_heads is None else {"num_heads": num_heads})

    def _check_last_stage(self, stored_locals: Any) -> None:
        """Refuse `locals` that end with 1: with them the released code gets other tokens than positions."""
        told = isinstance(stored_locals, (list, tuple)) and len(stored_locals) == 4 and stored_locals[3]
        if told or any(name.startswith("local_projections.3.") for name in self.tensors):
            raise ValueError(
                f"{self.path} is of a {self.title} whose locals end with 1, with which its released code "
                "does not run: pass a checkpoint of a training whose locals end with 0"
            )

    def _read_fields(self, heads: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of the configuration that the shapes tell."""
        names = ["head.weight", "visual_projection.weight", "fusion.mlp.fc1.weight", "token_positions"]
        if self.network != "lora-v":
            names.append("text_projection.weight")
        for name in names:
            if name not in self.tensors or self.tensors[name].ndim < 2:
                raise ValueError(
                    f"the checkpoint lacks {name!r} (our name of it) or has it misshapen: pass a whole "
                    f"checkpoint of the released {self.title} code"
                )
        head, visual, mlp, positions = (self.tensors[name] for name in names[:4])
        fields: dict[str, Any] = {
            "network": self.network,
            **backbone_fields(self.tensors),
            "num_classes": head.shape[0],
            "hidden_dim": visual.shape[0],
            "fusion_mlp_dim": mlp.shape[0],
            "local_stages": (
                *(f"backbone.stages.{stage}.class_token" in self.tensors for stage in range(3)),
                False,
            ),
        }
        text = 0
        if self.network != "lora-v":
            fields |= {"text_dim": self.tensors[names[4]].shape[-1], "text_length": TEXT_LENGTH}
            text = TEXT_LENGTH
        # Whether the fusion's heads divide its width is seen when the whole configuration is built.
        of_alpha_1 = _validated(self.path, {**fields, **heads, "alpha": 1, "fusion_heads": 1})
        alpha, rest = divmod(
            positions.shape[1] - text - sum(of_alpha_1.class_token_stages), sum(of_alpha_1.local_token_counts)
        )
        if rest or alpha < 1:
            raise ValueError(
                f"pos_embed of {positions.shape[1]} tokens fits no alpha: pass a checkpoint of the released "
                "code"
            )
        return {**fields, "alpha": alpha}

    def fill(self, model: Peer) -> tuple[list[str], list[str], list[str]]:
        """Load the weights into a model of the file's shape.

        Returns:
            Names in the file that are used, our names that the file lacks (none), and names in the file that
            the released code never reads.

        Raises:
            ValueError: a parameter is missing, has another shape or has no place.
        """
        unread = [name for name, tensor in self.tensors.items() if _is_unread(name, tensor, model.config)]
        tensors = {name: tensor for name, tensor in self.tensors.items() if name not in set(unread)}
        wanted = model.state_dict()
        missing = [name for name in wanted if name not in tensors]
        wrong = [name for name in tensors if name not in wanted or wanted[name].shape != tensors[name].shape]
        if missing or wrong:
            raise ValueError(
                f"{self.path} does not fit {self.title} at parameter {(missing + wrong)[0]!r}: "
                "pass a whole checkpoint of the released code"
            )
        model.load_state_dict(tensors)
        return [self.origin[name] for name in tensors], missing, [self.origin[name] for name in unread]


def build_released(
    path: Path,
    state: Mapping[str, Tensor],
    network: Network,
    options: Mapping[str, Any],
    wanted: Mapping[str, Any],
) -> tuple[Peer, ReleasedPeer]:
    """Build the model that a released checkpoint's shapes ask for; it still has new weights.

    Args:
        options: of the command line stored in the checkpoint.
        wanted: fields of `PeerConfig`; one that contradicts the file is refused.

    Raises:
        ValueError: the file is of another architecture, not whole, or not what is wanted.
    """
    released = ReleasedPeer(
        path, state, network, num_heads=wanted.get("num_heads"), stored_locals=options.get("locals")
    )
    fields = released.fields
    if isinstance(side := options.get("input_size"), int) and "image_size" not in wanted:
        fields = {**fields, "image_size": side}
    contradiction(path, fields, wanted, f"{released.title}")
    with torch.random.fork_rng(devices=[]):
        return build_network(_validated(path, {**fields, **wanted})).eval(), released


def _validated(path: Path, fields: dict[str, Any]) -> PeerConfig:
    try:
        return PeerConfig(**fields)
    except ValidationError as error:
        fault = error.errors()[0]
        # Of a field that the caller chose, such as fusion_heads, the message already names it.
        where = ".".join(map(str, fault["loc"]))
        message = fault["msg"].removeprefix("Value error, ")
        text = message if not where or where in message else f"{where}: {message}"
        raise ValueError(f"{path} is not a network that runs: {text}") from None


def _is_unread(name: str, tensor: Tensor, config: PeerConfig) -> bool:
    """Return whether the released code creates this parameter and never reads it.

    A norm in TGCA-PVT's attention, gates without width where there are few channels, and what a stage without
    class token would have had.
    """
    if _UNREAD_NORM.fullmatch(name) and config.reads_topic:
        return True
    if gate := _EMPTY_GATE.fullmatch(name):
        channels = (3, *config.embed_dims[:3])[int(gate[1])]
        return channels < SQUEEZE and tensor.numel() == 0
    match = _OF_STAGE.match(name)
    return match is not None and not config.class_token_stages[int(match[2])]
