"""The networks that MGHFT is compared with: PVT, PVT + BERT, LORA-V, LORA and TGCA-PVT; plain torch."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from mghft.model.peers.base import Peer as Peer
    from mghft.model.peers.base import PeerOutput as PeerOutput
    from mghft.model.peers.build import build_network as build_network
    from mghft.model.peers.build import load_peer as load_peer
    from mghft.model.peers.build import released_parameters as released_parameters
    from mghft.model.peers.config import NETWORKS as NETWORKS
    from mghft.model.peers.config import PeerConfig as PeerConfig
    from mghft.model.peers.lora import LORA as LORA
    from mghft.model.peers.pvt_classifier import PVTClassifier as PVTClassifier
    from mghft.model.peers.tgca import TGCAPVT as TGCAPVT
    from mghft.model.peers.token_encoder import TokenEncoder as TokenEncoder
    from mghft.model.peers.topic import topic_groups as topic_groups

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": ["Peer", "PeerOutput"],
        "build": ["build_network", "load_peer", "released_parameters"],
        "config": ["NETWORKS", "PeerConfig"],
        "lora": ["LORA"],
        "pvt_classifier": ["PVTClassifier"],
        "tgca": ["TGCAPVT"],
        "token_encoder": ["TokenEncoder"],
        "topic": ["topic_groups"],
    },
)
