"""The peers against their formulas written out (slow_peers.py), in float64, over the shapes they can take."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch
from slow_peers import frequency, slow_peer
from slow_reference import Layers
from torch import nn

from mghft.model.peers import NETWORKS, PeerConfig, build_network
from mghft.model.peers.base import Peer
from mghft.model.peers.frequency import FrequencyModule, inverse

PATTERNS = ["1110", "1100", "1010", "1000", "0110", "0100", "0010", "0000"]


class Shape(NamedTuple):
    network: str
    fields: Mapping[str, Any] = MappingProxyType({})
    size: tuple[int, int] = (64, 64)
    topics: tuple[str, ...] = ("b", "a", "b", "c")

    def __str__(self) -> str:
        return f"{self.network} {self.fields} {self.size} {''.join(self.topics)}"


def flags(pattern: str) -> tuple[bool, ...]:
    return tuple(flag == "1" for flag in pattern)


SHAPES = [
    *(Shape(network) for network in NETWORKS),
    *(
        Shape(network, {"local_stages": flags(pattern)})
        for network in ("lora", "tgca-pvt")
        for pattern in dict.fromkeys(PATTERNS)
    ),
    Shape("lora-v", {"alpha": 3}, (96, 96)),
    Shape("lora", {"num_heads": (2, 4, 4, 2), "fusion_heads": 4}),
    Shape("lora", {"sr_ratios": (4, 2, 1, 1), "depths": (3, 2, 4, 5)}),
    Shape("lora", {"text_length": 7}, (32, 64)),
    Shape("tgca-pvt", {"num_heads": (4, 2, 8, 4), "fusion_heads": 6, "alpha": 2}, (64, 96)),
    Shape("tgca-pvt", {"embed_dims": (16, 48, 40, 64), "sr_ratios": (4, 4, 2, 1)}, (128, 64)),
    Shape("tgca-pvt", {"depths": (2, 3, 4, 2)}, (32, 32)),
    Shape("tgca-pvt", {}, topics=("a", "a", "a", "a")),
    Shape("tgca-pvt", {}, topics=("d", "c", "b", "a")),
]


def randomised(config: PeerConfig) -> Peer:
    """In float64 with weights large enough that every part shows in the output."""
    model = build_network(config).double().eval()
    for name, parameter in model.named_parameters():
        nn.init.normal_(parameter, std=0.2)
        if "norm" in name and name.endswith("weight"):
            parameter.data += 1
    return model


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_network_is_its_formulas(shape: Shape) -> None:
    context = {"topic_context": "batch"} if shape.network == "tgca-pvt" else {}
    config = PeerConfig.preset("tiny", network=shape.network, **{**context, **shape.fields})
    model = randomised(config)
    image = torch.randn(4, 3, *shape.size, dtype=torch.float64)
    labels = torch.tensor([0, 6, 3, 3])
    text = None
    if config.use_text:
        text = torch.randn(4, config.text_length, config.text_dim, dtype=torch.float64)
    numbers = {topic: number for number, topic in enumerate(shape.topics)}
    more = {"topics": torch.tensor([numbers[topic] for topic in shape.topics])} if context else {}
    output = model(image, text, labels, **more)
    # Chosen by our indices, which are compared by their scores: equal ones may change places.
    theirs = slow_peer(
        model, image, text, labels, topics=shape.topics if context else None, indices=list(output.lra_indices)
    )
    assert len(output.lra_indices) == len(theirs.scores)
    for chosen, scores in zip(output.lra_indices, theirs.scores, strict=True):
        best = scores.sort(dim=-1, descending=True).values[..., : chosen.shape[-1]]
        torch.testing.assert_close(scores.gather(-1, chosen), best)
    torch.testing.assert_close(output.visual_tokens, theirs.visual_tokens)
    torch.testing.assert_close(output.logits, theirs.logits)
    torch.testing.assert_close(output.loss, theirs.loss)
    ours = torch.autograd.grad(output.loss, list(model.parameters()), allow_unused=True)
    slow = torch.autograd.grad(theirs.loss, list(model.parameters()), allow_unused=True)
    for (name, _), mine, other in zip(model.named_parameters(), ours, slow, strict=True):
        assert mine is not None, f"{name} has no effect"
        torch.testing.assert_close(mine, other, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("size", [(6, 10), (5, 7), (4, 9), (2, 2), (1, 1), (3, 1)])
@pytest.mark.parametrize("channels", [3, 15, 16, 33])
def test_frequency_module_is_a_sum_of_waves(size: tuple[int, int], channels: int) -> None:
    module = FrequencyModule(channels).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    image = torch.randn(2, channels, *size, dtype=torch.float64)
    holder = nn.ModuleDict({"module": module})
    torch.testing.assert_close(module(image), frequency(Layers(holder), "module", image))  # type: ignore[arg-type]


def test_inverse_of_any_half_spectrum_is_that_of_torch_on_a_cpu() -> None:
    for width in (8, 9):
        real, imaginary = torch.randn(2, 1, 3, 6, width // 2 + 1, dtype=torch.float64)
        expected = torch.fft.irfft2(torch.complex(real, imaginary), s=(6, width), norm="ortho")
        torch.testing.assert_close(inverse(real, imaginary, width=width), expected)


def test_without_topic_context_a_sticker_is_judged_as_if_it_were_alone() -> None:
    model = randomised(PeerConfig.preset("tiny", network="tgca-pvt"))
    image = torch.randn(4, 3, 64, 64, dtype=torch.float64)
    text = torch.randn(4, 30, 32, dtype=torch.float64)
    together = model(image, text).logits
    alone = torch.cat([model(image[i : i + 1], text[i : i + 1]).logits for i in range(4)])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(together, slow_peer(model, image, text).logits)


def test_training_takes_the_topics_of_the_batch() -> None:
    model = randomised(PeerConfig.preset("tiny", network="tgca-pvt", drop_path=0.0, fusion_dropout=0.0))
    image = torch.randn(3, 3, 64, 64, dtype=torch.float64)
    text = torch.randn(3, 30, 32, dtype=torch.float64)
    with pytest.raises(ValueError, match="topics are missing, and training reads them"):
        model.train()(image, text)
    logits = model(image, text, topics=torch.tensor([5, 9, 5])).logits
    torch.testing.assert_close(logits, slow_peer(model, image, text, topics="aba").logits)
