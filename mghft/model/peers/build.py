"""The peer that a configuration names, new or out of a folder; its parameters as the release counts them."""

from __future__ import annotations

from pathlib import Path

import torch

from mghft.model.checkpoint_files import locate_file
from mghft.model.hub import CONFIG_NAME, read_config
from mghft.model.peers.base import Peer
from mghft.model.peers.config import PeerConfig
from mghft.model.peers.lora import LORA
from mghft.model.peers.pvt_classifier import PVTClassifier
from mghft.model.peers.tgca import TGCAPVT

_CLASSES: tuple[type[PVTClassifier] | type[LORA], ...] = (PVTClassifier, LORA, TGCAPVT)


def peer_class(config: PeerConfig) -> type[Peer]:
    """Return the class of the network that a configuration names."""
    return next(kind for kind in _CLASSES if config.network in kind.networks)


def build_network(config: PeerConfig) -> Peer:
    """Build the network that a configuration names, with new weights."""
    return peer_class(config)(config)


def load_peer(source: str | Path) -> Peer:
    """Load a peer that `save_pretrained` wrote, whichever it is, in evaluation mode.

    Args:
        source: a folder, or a model id on the Hugging Face Hub.

    Raises:
        FileNotFoundError: the folder or model does not exist, or a file is missing in it.
        ValueError: the files are damaged or no peer's.
    """
    try:
        config = read_config(locate_file(source, CONFIG_NAME), PeerConfig, Peer.model_type)
    except ValueError as error:
        raise ValueError(f"{source} does not hold a usable peer of MGHFT ({error})") from error
    return peer_class(config).from_pretrained(source)


def released_parameters(config: PeerConfig) -> int:
    """Count parameters as the released code has them, the text encoder not included.

    Of LORA that is every parameter here. The released TGCA-PVT has some without effect, which are left out
    here: matrices of which the frequency modules read the diagonal, a norm in the attention, and the topic
    contexts of stages without class token.
    """
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in build_network(config).parameters())
    if not config.reads_topic:
        return count
    off_diagonal = sum(2 * width * (width - 1) for width in (3, *config.embed_dims[:3]))
    unread_contexts = sum(
        width * (width + 1)
        for width, has_token in zip(config.embed_dims, config.class_token_stages, strict=True)
        if not has_token
    )
    return count + off_diagonal + unread_contexts + 2 * config.hidden_dim
