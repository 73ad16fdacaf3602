"""The peers against their formulas written out, at other sizes than the golden cases, and their inputs."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from slow_peers import peer_reference
from torch import Tensor, nn

from mghft.model.peers import NETWORKS, PeerConfig, PeerNetwork, topic_groups
from mghft.model.peers.topics import group_mean

SMALL: dict[str, Any] = {
    "image_size": 64,
    "embed_dims": (16, 24, 40, 48),
    "depths": (2, 2, 3, 2),
    "num_heads": (1, 2, 5, 4),
    "alpha": 1,
    "hidden_dim": 24,
    "fusion_heads": 4,
    "fusion_mlp_dim": 32,
    "text_dim": 20,
    "text_length": 7,
    "num_classes": 5,
}
Randomise = Callable[[nn.Module], None]


def build(network: str, randomise: Randomise, **overrides: Any) -> PeerNetwork:
    model = PeerNetwork(PeerConfig(network=network, **{**SMALL, **overrides})).double().eval()
    randomise(model)
    return model


def inputs(config: PeerConfig, batch: int = 3, side: int | None = None) -> dict[str, Tensor]:
    side = side or config.image_size
    found = {"image": torch.randn(batch, 3, side, side, dtype=torch.float64)}
    if config.uses_text:
        found["text_tokens"] = torch.randn(batch, config.text_length, config.text_dim, dtype=torch.float64)
    return found


PATTERNS = [
    (network, (*local, False))
    for network in ("lora-v", "lora", "tgca-pvt")
    for local in itertools.product((False, True), repeat=3)
]


@pytest.mark.parametrize(("network", "local"), PATTERNS)
def test_every_pattern_follows_the_published_formulas(
    network: str, local: tuple[bool, ...], randomise: Randomise
) -> None:
    model = build(network, randomise, local_stages=local)
    given, labels = inputs(model.config), torch.tensor([0, 4, 2])
    output = model(**given, labels=labels)
    logits, loss, scores = peer_reference(model, given["image"], given.get("text_tokens"), [0, 1, 2], labels)
    torch.testing.assert_close(output.logits, logits, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(output.loss, loss, rtol=1e-9, atol=1e-9)
    assert len(output.lra_indices) == len(scores) == 1 + sum(local)
    assert all(parameter.requires_grad for parameter in model.parameters())
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("network", "overrides"),
    [
        ("pvt", {}),
        ("pvt-bert", {}),
        ("lora", {"image_size": 96, "alpha": 2, "sr_ratios": (4, 4, 2, 1)}),
        ("tgca-pvt", {"alpha": 2, "sr_ratios": (4, 2, 2, 1), "num_heads": (2, 3, 4, 6)}),
        ("tgca-pvt", {"embed_dims": (12, 32, 64, 48), "num_heads": (2, 2, 4, 4), "mlp_ratios": (2, 3, 4, 1)}),
        ("tgca-pvt", {"depths": (3, 2, 2, 4)}),
    ],
)
def test_other_shapes_follow_the_published_formulas(
    network: str, overrides: dict[str, Any], randomise: Randomise
) -> None:
    model = build(network, randomise, **overrides)
    given, labels = inputs(model.config), torch.tensor([1, 1, 3])
    output = model(**given, labels=labels)
    logits, loss, _ = peer_reference(model, given["image"], given.get("text_tokens"), [0, 1, 2], labels)
    torch.testing.assert_close(output.logits, logits, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(output.loss, loss, rtol=1e-9, atol=1e-9)


def test_image_that_is_not_square_follows_the_published_formulas(randomise: Randomise) -> None:
    model = build("tgca-pvt", randomise)
    given = inputs(model.config)
    given["image"] = torch.randn(3, 3, 64, 128, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2])
    logits, _, _ = peer_reference(model, given["image"], given["text_tokens"], [0, 1, 2], labels)
    torch.testing.assert_close(model(**given).logits, logits, rtol=1e-9, atol=1e-9)


def test_topics_of_a_batch_share_their_context(randomise: Randomise) -> None:
    model = build("tgca-pvt", randomise, topic_context="batch")
    given, labels = inputs(model.config, batch=5), torch.tensor([0, 1, 2, 3, 4])
    groups = [3, 1, 3, 0, 1]
    output = model(**given, topics=torch.tensor(groups), labels=labels)
    logits, loss, _ = peer_reference(model, given["image"], given["text_tokens"], groups, labels)
    torch.testing.assert_close(output.logits, logits, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(output.loss, loss, rtol=1e-9, atol=1e-9)


def test_own_context_does_not_depend_on_the_batch_and_that_of_topics_does(randomise: Randomise) -> None:
    alone = build("tgca-pvt", randomise)
    shared = PeerNetwork(alone.config.model_copy(update={"topic_context": "batch"})).double().eval()
    shared.load_state_dict(alone.state_dict())
    given = inputs(alone.config, batch=4)
    one = {name: value[:1] for name, value in given.items()}
    torch.testing.assert_close(alone(**given).logits[:1], alone(**one).logits, rtol=1e-9, atol=1e-9)
    each_its_own = shared(**given, topics=torch.arange(4)).logits
    torch.testing.assert_close(each_its_own, alone(**given).logits, rtol=1e-9, atol=1e-9)
    together = shared(**given, topics=torch.zeros(4, dtype=torch.long)).logits
    assert (together[0] - each_its_own[0]).abs().max() > 1e-6


def test_groups_are_ranks_of_equal_rows() -> None:
    ids = torch.tensor([[5, 1, 0], [2, 9, 9], [5, 1, 0], [5, 0, 7]])
    assert topic_groups(ids).tolist() == [2, 0, 2, 1]
    values = torch.tensor([[1.0], [2.0], [5.0], [7.0]])
    assert group_mean(values, topic_groups(ids)).flatten().tolist() == [3.0, 2.0, 3.0, 7.0]


# What the released code makes (LORA's and TGCA-PVT's, counted), without the text encoder.
RELEASED = {"lora-v": 32_999_687, "lora": 33_613_319, "tgca-pvt": 34_869_023}


@pytest.mark.parametrize("network", RELEASED)
def test_full_size_has_the_released_number_of_parameters(network: str) -> None:
    with torch.device("meta"):
        model = PeerNetwork(PeerConfig(network=network))
    unread = 0
    if network == "tgca-pvt":
        # Two matrices for every frequency module of which the diagonals are read, and an unused LayerNorm.
        unread = 2 * sum(width * (width - 1) for width in (3, 64, 128, 320)) + 2 * 768
        assert unread == 246_284
    assert sum(parameter.numel() for parameter in model.parameters()) + unread == RELEASED[network]
    assert model.config.num_tokens == {"lora-v": 996}.get(network, 1026)


def test_pvt_is_its_authors_classifier() -> None:
    with torch.device("meta"):
        model = PeerNetwork(PeerConfig(network="pvt", num_classes=1000))
    # PVT-small: 24.49 M parameters (Wang et al., ICCV 2021, table 1: 24.5 M).
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 1) == 24.5


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"network": "lora", "local_stages": (1, 1, 1, 1)}, "local_stages has the last stage on"),
        ({"network": "lora", "depths": (1, 2, 2, 2)}, "depths has 1 for stage 1"),
        (
            {"network": "lora", "local_stages": (0, 0, 0, 0), "depths": (1, 1, 1, 1)},
            "depths has 1 for stage 4",
        ),
        ({"network": "pvt", "local_stages": (1, 0, 0, 0)}, "pvt has no local tokens"),
        ({"network": "lora", "image_size": 32}, "keys where local re-attention needs 3"),
        ({"network": "lora", "image_size": 48}, "use a multiple of 32"),
        ({"network": "lora", "alpha": 5}, "alpha 5 is too large"),
        ({"network": "lora", "hidden_dim": 25}, "hidden_dim 25 is not a multiple of fusion_heads 4"),
        ({"network": "resnet"}, "network"),
    ],
)
def test_shape_that_cannot_run_is_refused_by_its_field(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PeerConfig(**{**SMALL, **overrides})


@pytest.mark.parametrize(
    ("network", "change", "message"),
    [
        ("lora", {"text_tokens": None}, "text_tokens has shape None where lora reads"),
        ("lora", {"text_tokens": torch.zeros(3, 6, 20)}, r"shape \(3, 6, 20\) where lora reads \(3, 7, 20\)"),
        ("lora-v", {"text_tokens": torch.zeros(3, 7, 20)}, "where lora-v reads None"),
        ("tgca-pvt", {"topics": torch.zeros(3)}, "topic_context self takes no topics"),
        ("lora", {"image": torch.zeros(3, 3, 60, 64)}, "image side 60 does not fit"),
    ],
)
def test_input_that_does_not_fit_is_refused(
    network: str, change: dict[str, Any], message: str, randomise: Randomise
) -> None:
    model = build(network, randomise)
    with pytest.raises(ValueError, match=message):
        model(**{**inputs(model.config), **change})


def test_topics_are_needed_where_they_are_the_context(randomise: Randomise) -> None:
    model = build("tgca-pvt", randomise, topic_context="topic")
    with pytest.raises(ValueError, match="needs topics, one number for every sticker"):
        model(**inputs(model.config))
    with pytest.raises(ValueError, match=r"topics has shape \(2,\)"):
        model(**inputs(model.config), topics=torch.zeros(2))


@pytest.mark.parametrize("network", NETWORKS)
def test_saved_network_is_loaded_again(network: str, randomise: Randomise, tmp_path: Any) -> None:
    model = build(network, randomise).float()
    model.save_pretrained(tmp_path)
    loaded = PeerNetwork.from_pretrained(tmp_path)
    given = {name: value.float() for name, value in inputs(model.config).items()}
    assert loaded.config == model.config
    torch.testing.assert_close(loaded(**given).logits, model(**given).logits)
    card = (tmp_path / "README.md").read_text()
    assert "PeerNetwork.from_pretrained" in card
    assert f"{model.config.num_classes} classes" in card


def test_training_begins_as_the_released_code_does() -> None:
    torch.manual_seed(0)
    model = PeerNetwork(PeerConfig(network="lora", **SMALL))
    bound = (6 / (24 + 32)) ** 0.5
    assert 0.9 * bound < model.fusion.mlp.fc1.weight.abs().max() <= bound
    assert model.visual_projection.bias.abs().max() < 1e-5
    assert model.backbone.stages[0].blocks[0].mlp.fc1.bias.abs().max() == 0
    assert 0.015 < model.backbone.stages[0].blocks[0].mlp.fc1.weight.std() < 0.025
    assert 0.015 < model.token_positions.std() < 0.025
