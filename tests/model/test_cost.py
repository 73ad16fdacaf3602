"""Costs of the model: operations against formulas written here, parameters against the published number."""

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel

from mghft.model import MGHFTConfig
from mghft.model.cost import Cost, LiveBytes, model_cost, released_parameters, text_encoder_cost
from mghft.model.mghft import MGHFT
from mghft.model.peers import NETWORKS, PeerConfig, build_network

CONFIG = MGHFTConfig.preset("tiny", image_size=96, alpha=2)


@cache
def _cost(config: MGHFTConfig = CONFIG) -> Cost:
    return model_cost(config)


def _flops(config: MGHFTConfig = CONFIG) -> dict[str, int]:
    return {part.name: part.flops for part in _cost(config).parts}


def _keys(config: MGHFTConfig, stage: int) -> tuple[int, int]:
    """Tokens and reduced keys of a stage, class token included."""
    patches = (config.image_size // (4 * 2**stage)) ** 2
    return patches + 1, patches // config.sr_ratios[stage] ** 2 + 1


@pytest.mark.parametrize("stage", range(4))
def test_stage_of_the_backbone_costs_what_its_products_say(stage: int) -> None:
    width, ratio = CONFIG.embed_dims[stage], CONFIG.sr_ratios[stage]
    before, stride = (3, 4) if stage == 0 else (CONFIG.embed_dims[stage - 1], 2)
    tokens, keys = _keys(CONFIG, stage)
    patch_embedding = 2 * (tokens - 1) * stride**2 * before * width
    linear = tokens * width**2 * (2 + 2 * CONFIG.mlp_ratios[stage]) + keys * 2 * width**2
    attention = 2 * tokens * keys * width
    reduction = (keys - 1) * ratio**2 * width**2 if ratio > 1 else 0
    block = 2 * (linear + attention + reduction)
    assert _flops()[f"backbone stage {stage + 1}"] == patch_embedding + CONFIG.depths[stage] * block


def test_reattention_costs_a_map_and_a_vector_product_per_block() -> None:
    total = 0
    for stage in range(4):
        tokens, keys = _keys(CONFIG, stage)
        heads, head_width = CONFIG.num_heads[stage], CONFIG.embed_dims[stage] // CONFIG.num_heads[stage]
        whole = 2 * heads * tokens * keys * (head_width + 1)
        depth = CONFIG.depths[stage]
        only_row = stage == 3 or depth % 2 == 0
        total += (depth - 1) * whole + (2 * heads * keys * head_width if only_row else whole)
    assert _flops()["local re-attention"] == total


def test_fusion_inputs_and_soft_fusion_cost_their_products() -> None:
    width, hidden = CONFIG.embed_dims[3], CONFIG.hidden_dim
    flops = _flops()
    text_tokens = 8
    assert flops["fusion inputs"] == 2 * (CONFIG.num_visual_tokens + text_tokens) * width * hidden
    assert flops["soft fusion"] == 2 * (2 * 4 * 4 * width)


def test_parts_add_up_to_the_model() -> None:
    cost = _cost()
    model = MGHFT(CONFIG)
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert {part.name for part in cost.parts if part.flops <= 0} == set()


def test_model_without_text_has_no_text_parts() -> None:
    names = set(_flops(MGHFTConfig.preset("tiny", use_text=False)))
    assert not {name for name in names if "view" in name or "text projections" in name or "soft" in name}


def test_larger_image_costs_more_and_no_more_parameters() -> None:
    small, large = _cost(), model_cost(CONFIG, image_size=128)
    assert large.flops > 1.5 * small.flops and large.forward_bytes > small.forward_bytes
    assert large.parameters == small.parameters


def test_image_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="image side 100 does not fit"):
        model_cost(CONFIG, image_size=100)


def test_full_model_has_the_published_size() -> None:
    encoder = text_encoder_cost("bert-base-uncased", texts=4, tokens=512)
    assert released_parameters(MGHFTConfig(num_classes=7), encoder.parameters) == 144_182_024


def test_bert_base_is_counted_as_transformers_builds_it() -> None:
    with torch.device("meta"), torch.no_grad():
        bert = BertModel(BertConfig(), add_pooling_layer=True).eval()
        with (
            FlopCounterMode(display=False) as counter,
            torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
        ):
            bert(torch.zeros(2, 40, dtype=torch.long))
    cost = text_encoder_cost("bert-base-uncased", texts=2, tokens=40)
    assert cost.parameters == sum(parameter.numel() for parameter in bert.parameters())
    assert cost.flops == counter.get_total_flops()


def test_text_encoder_of_a_folder_is_counted_from_its_configuration_alone(tmp_path: Path) -> None:
    width, hidden, tokens = 32, 64, 10
    config = BertConfig(
        vocab_size=50, hidden_size=width, num_hidden_layers=2, num_attention_heads=4, intermediate_size=hidden
    )
    config.save_pretrained(tmp_path)
    cost = text_encoder_cost(str(tmp_path), texts=3, tokens=tokens)
    layer = 2 * tokens * (4 * width**2 + 2 * width * hidden) + 4 * tokens**2 * width
    assert cost.flops == 3 * (2 * layer + 2 * width**2)


def test_text_longer_than_the_encoder_takes_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 512 tokens, not 600"):
        text_encoder_cost("bert-base-uncased", texts=4, tokens=600)


def test_live_bytes_of_a_chain_are_its_two_largest_neighbours() -> None:
    layers = nn.Sequential(nn.Linear(8, 100, bias=False), nn.ReLU(), nn.Linear(100, 2, bias=False))
    x, live = torch.randn(1, 8), LiveBytes()
    live.ignore([x, *layers.parameters()])
    with torch.no_grad(), live:
        out = layers(x)
        assert live.now == out.numel() * 4
    assert live.peak == 2 * 100 * 4


def test_activation_memory_on_tensors_without_data_is_that_of_a_real_pass() -> None:
    torch.manual_seed(0)
    model = MGHFT(CONFIG).eval()
    image, text = torch.randn(1, 3, 96, 96), torch.randn(1, 4, CONFIG.text_dim)
    live = LiveBytes()
    live.ignore([*model.state_dict().values(), image, text])
    with torch.no_grad(), live:
        model(image, text)
    assert live.peak == pytest.approx(_cost().forward_bytes, rel=0.02)


@pytest.mark.parametrize(
    "switch", ["alignment", "local_fusion", "global_fusion", "text_guided_attention", "local_reattention"]
)
def test_parts_add_up_with_a_part_of_the_model_switched_off(switch: str) -> None:
    config = MGHFTConfig.preset("tiny", **{switch: False})
    cost = model_cost(config)
    assert cost.parameters == sum(parameter.numel() for parameter in MGHFT(config).parameters())
    assert ("local re-attention" in {part.name for part in cost.parts}) == (switch != "local_reattention")
    assert min(part.flops for part in cost.parts) >= 0


class TestPeers:
    @pytest.mark.parametrize("network", NETWORKS)
    def test_parts_add_up(self, network: str) -> None:
        config = PeerConfig.preset("tiny", network=network)
        cost = model_cost(config)
        assert cost.parameters == sum(parameter.numel() for parameter in build_network(config).parameters())
        # Fourier transforms are not counted, and the first module has no products at all.
        assert {part.name for part in cost.parts if part.flops <= 0} <= {"frequency modules", "token norm"}
        assert ("local re-attention" in {part.name for part in cost.parts}) == any(config.selecting_stages)

    @pytest.mark.parametrize("network", NETWORKS)
    def test_operations_and_memory_are_those_of_a_pass_on_real_numbers(self, network: str) -> None:
        torch.manual_seed(0)
        config = PeerConfig.preset("tiny", network=network)
        model = build_network(config).eval()
        image = torch.randn(1, 3, config.image_size, config.image_size)
        text = torch.randn(1, config.text_length, config.text_dim) if config.use_text else None
        live = LiveBytes()
        live.ignore([*model.state_dict().values(), image, *([] if text is None else [text])])
        with torch.no_grad(), live:
            model(image, text)
        with (
            torch.no_grad(),
            FlopCounterMode(display=False) as counter,
            torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
        ):
            model(image, text)
        cost = model_cost(config)
        assert cost.flops == counter.get_total_flops()
        assert live.peak == pytest.approx(cost.forward_bytes, rel=0.02)

    def test_fusion_of_tgca_pvt_costs_what_its_products_say(self) -> None:
        config = PeerConfig.preset("tiny", network="tgca-pvt")
        flops = {part.name: part.flops for part in model_cost(config).parts}
        n, width = config.num_tokens, config.hidden_dim
        # Context, topic, key and value of all tokens, their attention; then token 0 alone.
        everyone = 4 * 2 * n * width**2 + 2 * 2 * n**2 * width
        first = 2 * 2 * width**2 + 2 * 2 * n * width + 2 * 2 * width * config.fusion_mlp_dim
        assert flops["text-guided fusion"] == everyone + first

    def test_training_keeps_more_than_evaluation_holds(self) -> None:
        cost = model_cost(PeerConfig.preset("tiny", network="tgca-pvt"))
        assert cost.training_bytes > cost.forward_bytes
