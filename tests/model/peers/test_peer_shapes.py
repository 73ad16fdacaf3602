"""Sizes of the published peers, and shapes that are refused."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from mghft.model.peers import LORA, NETWORKS, TGCAPVT, PeerConfig, build_network, released_parameters


def count(config: PeerConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_network(config).parameters())


@pytest.mark.parametrize(
    ("network", "released"), [("lora-v", 32_999_687), ("lora", 33_613_319), ("tgca-pvt", 34_869_023)]
)
def test_full_size_has_the_parameters_of_the_release(network: Any, released: int) -> None:
    config = PeerConfig(network=network)
    assert released_parameters(config) == released
    if network != "tgca-pvt":
        assert count(config) == released


def test_tgca_leaves_out_what_has_no_effect_and_nothing_else() -> None:
    matrices = sum(2 * (width**2 - width) for width in (3, 64, 128, 320))
    norm = 2 * 768
    assert count(PeerConfig(network="tgca-pvt")) == 34_869_023 - matrices - norm == 34_622_739
    less = PeerConfig(network="tgca-pvt", local_stages=(True, False, True, False))
    gone = 34_869_023 - released_parameters(less)
    # The released code keeps the topic context of a stage without class token.
    tokens = 8 * 32 + 1
    assert gone == 128 + 4 * 128**2 + 2 * 128 + 2 * (128 * 512 + 512) - 2 * 128**2 + tokens * 768


@pytest.mark.parametrize(("pattern", "tokens"), [("1110", 996), ("0110", 483), ("0010", 226), ("0000", 65)])
def test_visual_tokens_are_the_published_number(pattern: str, tokens: int) -> None:
    config = PeerConfig(network="lora", local_stages=tuple(flag == "1" for flag in pattern))  # type: ignore[arg-type]
    assert config.num_visual_tokens == tokens and config.num_tokens == tokens + 30


def test_pvt_with_bert_has_one_global_token_beside_the_text() -> None:
    config = PeerConfig(network="pvt-bert")
    assert config.local_flags == "0000" and config.num_tokens == 31
    assert PeerConfig(network="pvt").num_visual_tokens == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"network": "lora", "local_stages": (1, 1, 1, 1)}, r"local_stages \(locals\) ends with 1"),
        ({"network": "tgca-pvt", "local_stages": (0, 0, 0, 1)}, r"local_stages \(locals\) ends with 1"),
        ({"network": "pvt", "local_stages": (1, 0, 0, 0)}, "local_stages is 1000, but PVT has no local"),
        ({"network": "lora", "image_size": 32, "alpha": 2}, "alpha 2 is too large for an image of 32 x 32"),
        ({"network": "lora", "depths": (3, 1, 6, 3)}, "depths has 1 block in stage 2"),
        ({"network": "lora-v", "depths": (3, 4, 6, 1)}, "depths has 1 block in stage 4"),
        ({"network": "lora", "topic_context": "batch"}, "topic_context is batch, but LORA reads no topic"),
        ({"network": "lora", "alignment_weight": 1.0}, "alignment_weight"),
        ({"network": "vgg"}, "network"),
        ({}, "network"),
    ],
)
def test_shape_that_does_not_run_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PeerConfig(**fields)


def test_shallow_stage_without_selection_is_no_matter() -> None:
    config = PeerConfig.preset("tiny", network="lora", local_stages=(0, 1, 1, 0), depths=(1, 2, 2, 2))
    image, text = torch.randn(2, 3, 64, 64), torch.randn(2, 30, 32)
    assert build_network(config).eval()(image, text).logits.shape == (2, 7)


def test_oblong_image_too_small_for_a_stage_is_refused() -> None:
    model = build_network(PeerConfig.preset("tiny", network="lora-v", alpha=2))
    with pytest.raises(
        ValueError, match="alpha 2 is too large for an image of 32 x 32: stage 1 would select"
    ):
        model(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(
    ("network", "text", "message"),
    [
        ("lora", None, r"text_tokens are missing where LORA reads \(2, 30, 32\)"),
        ("lora", (2, 29, 32), r"text_tokens are of shape \(2, 29, 32\)"),
        ("pvt-bert", (1, 30, 32), r"text_tokens are of shape \(1, 30, 32\)"),
        ("lora-v", (2, 30, 32), "text_tokens were passed to LORA-V, which reads no text"),
        ("pvt", (2, 30, 32), "text_tokens were passed to PVT, which reads no text"),
    ],
)
def test_text_of_another_shape_is_refused(network: Any, text: tuple[int, ...] | None, message: str) -> None:
    model = build_network(PeerConfig.preset("tiny", network=network))
    with pytest.raises(ValueError, match=message):
        model(torch.zeros(2, 3, 64, 64), None if text is None else torch.zeros(text))


def test_topics_of_another_number_are_refused() -> None:
    model = build_network(PeerConfig.preset("tiny", network="tgca-pvt", topic_context="batch")).eval()
    image, text = torch.zeros(2, 3, 64, 64), torch.zeros(2, 30, 32)
    with pytest.raises(ValueError, match="topics are missing, and topic_context batch reads them"):
        model(image, text)
    with pytest.raises(ValueError, match="topics are 3 for 2 images"):
        model(image, text, topics=torch.zeros(3))


def test_class_of_another_network_is_refused() -> None:
    with pytest.raises(ValueError, match="LORA is no TGCA-PVT"):
        LORA(PeerConfig.preset("tiny", network="tgca-pvt"))
    with pytest.raises(ValueError, match="TGCAPVT is no LORA-V"):
        TGCAPVT(PeerConfig.preset("tiny", network="lora-v"))


def test_first_weights_are_drawn_as_released() -> None:
    torch.manual_seed(0)
    config = PeerConfig.preset("tiny", network="tgca-pvt", hidden_dim=192, fusion_mlp_dim=384)
    state = build_network(config).state_dict()
    deviations = {
        "backbone.stages.2.blocks.0.mlp.fc1.weight": 0.02,
        "global_projections.2.0.weight": 0.02,
        "token_positions": 0.02,
        "frequency.3.real": 0.02,
        "frequency.3.imaginary_bias": 0.02,
        # Xavier uniform: sqrt(2 / (inputs + outputs)).
        "visual_projection.weight": (2 / (64 + 192)) ** 0.5,
        "text_projection.weight": (2 / (32 + 192)) ** 0.5,
        "fusion.mlp.fc1.weight": (2 / (192 + 384)) ** 0.5,
        "head.weight": (2 / (192 + 7)) ** 0.5,
        "head.bias": 1e-6,
        # torch's linear layers and convolutions: uniform within 1 / sqrt(inputs).
        "fusion.attention.query.weight": (1 / 192 / 3) ** 0.5,
        "fusion.attention.context.linear.weight": (1 / 192 / 3) ** 0.5,
        "topic_contexts.3.linear.weight": (1 / 64 / 3) ** 0.5,
    }
    for name, deviation in deviations.items():
        values = state[name]
        assert abs(values.std() / deviation - 1) < 4 / (2 * values.numel()) ** 0.5 + 0.02, name
    assert not state["local_projections.0.0.bias"].any()


@pytest.mark.parametrize("network", NETWORKS)
def test_dropout_is_that_of_training_alone(network: Any) -> None:
    model = build_network(PeerConfig.preset("tiny", network=network)).eval()
    image = torch.randn(2, 3, 64, 64)
    text = torch.randn(2, 30, 32) if model.config.use_text else None
    with torch.no_grad():
        assert torch.equal(model(image, text).logits, model(image, text).logits)
