"""The numbers of the released LORA and TGCA-PVT, reproduced from their weights (tests/golden/README.md)."""

import copy
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from released_choice import released_choice, released_indices
from safetensors.torch import load_file
from torch import Tensor
from transformers import BertConfig, BertModel

from mghft.model.peers import PeerConfig, PeerNetwork, PeerOutput, topic_groups
from mghft.model.peers.names import convert_peer, is_never_read, peer_name, released_network
from mghft.model.reattention import reattention_scores

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = ("lora_v_a", "lora_a", "tgca_a")
NETWORKS = {"lora_v": "lora-v", "lora": "lora", "tgca": "tgca-pvt"}
SAME = ("alpha", "image_size", "embed_dims", "depths", "num_heads", "mlp_ratios", "sr_ratios", "hidden_dim")


class Case(NamedTuple):
    model: PeerNetwork
    output: PeerOutput
    expected: dict[str, Tensor]
    text: Tensor | None
    topics: Tensor | None
    local: tuple[bool, ...]
    seen: dict[str, Tensor]
    state: dict[str, Tensor]


def config_of(fields: dict[str, Any], topic_context: str) -> PeerConfig:
    bert = fields.get("bert")
    return PeerConfig(
        network=NETWORKS[fields["model"]],
        **{name: fields[name] for name in (*SAME, "num_classes", "label_smoothing")},
        local_stages=[bool(flag) for flag in fields["locals"]],
        fusion_heads=fields["fuse_num_heads"],
        fusion_mlp_dim=fields["fuse_mlp_dim"],
        topic_context=topic_context,
        **({"text_dim": bert["hidden_size"]} if bert else {}),
    )


def text_of(fields: dict[str, Any], weights: dict[str, Tensor], expected: dict[str, Tensor]) -> Tensor | None:
    if "bert" not in fields:
        return None
    encoder = BertModel(BertConfig(**fields["bert"])).eval().requires_grad_(False)
    encoder.load_state_dict(weights, strict=False)
    inputs = {"input_ids": expected["input_ids"], "attention_mask": expected["attention_mask"]}
    states = encoder(**inputs, output_hidden_states=True).hidden_states
    return torch.stack(states[-4:]).mean(0)


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    folder = GOLDEN / request.param
    fields = json.loads((folder / "config.json").read_text())
    expected = load_file(folder / "case.safetensors")
    state = load_file(folder / "official_state_dict.safetensors")
    local = (*map(bool, fields["locals"][:3]), True)
    topics = topic_groups(expected["topic_ids"]) if "topic_ids" in expected else None
    model = PeerNetwork(config_of(fields, "self" if topics is None else "batch")).eval()
    assert model.config.network == released_network(state)
    tensors, bert = convert_peer(state, local=local)
    model.load_state_dict(tensors)
    text = text_of(fields, bert, expected)
    seen: dict[str, Tensor] = {}
    hooks = [model.fusion.register_forward_pre_hook(lambda _, inputs: seen.update(fusion_input=inputs[0]))]
    if topics is not None:
        for stage in (1, 4):
            module = model.frequencies[stage - 1]
            name = f"frequency_out{stage}"
            hooks.append(module.register_forward_hook(lambda *args, name=name: seen.update({name: args[-1]})))
    with released_choice(expected, "mghft.model.peers.network"):
        output = model(expected["image"], text, topics, labels=expected["labels"])
    assert output.loss is not None
    output.loss.backward()
    for hook in hooks:
        hook.remove()
    return Case(model, output, expected, text, topics, local, seen, state)


def agree(actual: Tensor | None, expected: Tensor) -> None:
    assert actual is not None
    expected = expected.reshape(actual.shape)
    difference = (actual.detach() - expected).abs()
    assert bool(((difference <= 1e-4) | (difference <= 1e-4 * expected.abs())).all()), difference.max()


def test_chosen_patches_are_the_released_ones(case: Case) -> None:
    with torch.no_grad():
        chosen = case.model(case.expected["image"], case.text, case.topics).lra_indices
    released = released_indices(case.expected)
    assert len(chosen) == len(released)
    for ours, theirs in zip(chosen, released, strict=True):
        assert torch.equal(ours.sort().values, theirs.sort().values)


def test_released_order_of_patches_is_that_of_scores_in_float64(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = copy.deepcopy(case.model).double()
    scores: list[Tensor] = []

    def remember(queries_keys: Any, *, count: int, last_stage: bool) -> Tensor:
        scores.append(reattention_scores(queries_keys, last_stage=last_stage))
        return scores[-1].topk(count, dim=-1).indices

    monkeypatch.setattr("mghft.model.peers.network.reattention_indices", remember)
    text = None if case.text is None else case.text.double()
    with torch.no_grad():
        model(case.expected["image"].double(), text, case.topics)
    for exact, released in zip(scores, released_indices(case.expected), strict=True):
        best = exact.sort(dim=-1, descending=True).values[..., : released.shape[-1]]
        torch.testing.assert_close(exact.gather(-1, released), best, rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("name", ["visual_tokens", "fused", "logits", "loss"])
def test_tensor_agrees(case: Case, name: str) -> None:
    agree(getattr(case.output, name), case.expected[name])


@pytest.mark.parametrize("name", ["fusion_input", "frequency_out1", "frequency_out4", "text_tokens"])
def test_inner_tensor_agrees(case: Case, name: str) -> None:
    found = {**case.seen, **({} if case.text is None else {"text_tokens": case.text})}
    assert (name in found) == (name in case.expected)
    if name in found:
        agree(found[name], case.expected[name])


def test_every_gradient_norm_agrees(case: Case) -> None:
    parameters = dict(case.model.named_parameters())
    seen = set()
    for name, value in case.expected.items():
        if not name.startswith("grad_norm/"):
            continue
        released = name.removeprefix("grad_norm/")
        if is_never_read(released, case.state[released], local=case.local):
            assert value == 0
            continue
        ours = peer_name(released)
        assert ours is not None, name
        gradient = parameters[ours].grad
        assert gradient is not None, name
        agree(gradient.norm(), value)
        seen.add(ours)
    assert set(parameters) == seen


def test_topic_groups_are_the_released_ones(case: Case) -> None:
    assert (case.topics is None) == ("topic_group" not in case.expected)
    if case.topics is not None:
        assert torch.equal(case.topics + 1, case.expected["topic_group"].flatten())


def test_alone_a_sticker_has_the_released_logits_of_a_batch_of_its_own(case: Case) -> None:
    if case.topics is None:
        assert "logits_alone" not in case.expected
        return
    alone = PeerNetwork(case.model.config.model_copy(update={"topic_context": "self"})).eval()
    alone.load_state_dict(case.model.state_dict())
    with torch.no_grad(), released_choice(case.expected, "mghft.model.peers.network"):
        together = alone(case.expected["image"], case.text).logits
    agree(together, case.expected["logits_alone"])
