"""The networks that MGHFT is compared with: PVT, PVT with text, LORA-V, LORA and TGCA-PVT."""

from mghft.model.peers.config import NETWORKS, Network, PeerConfig, TopicContext
from mghft.model.peers.network import PeerNetwork, PeerOutput
from mghft.model.peers.topics import topic_groups

__all__ = [
    "NETWORKS",
    "Network",
    "PeerConfig",
    "PeerNetwork",
    "PeerOutput",
    "TopicContext",
    "topic_groups",
]
