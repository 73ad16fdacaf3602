"""The released LORA and TGCA-PVT code's own numbers, reproduced from its weights (tests/golden/README.md)."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from released_choice import released_choice, released_indices
from safetensors.torch import load_file
from slow_peers import slow_peer
from torch import Tensor
from transformers import BertConfig, BertModel

from mghft.model.convert import convert_checkpoint
from mghft.model.peers import LORA, TGCAPVT, PeerOutput, topic_groups
from mghft.model.peers.build import build_network
from mghft.model.peers.official_names import peer_name
from mghft.model.peers.token_encoder import last_four_mean

GOLDEN = Path(__file__).parents[2] / "golden"
SELECTS = "mghft.model.peers.lora"
CASES = ["lora_v_a", "lora_a", "tgca_a"]


class Case(NamedTuple):
    name: str
    model: LORA
    output: PeerOutput
    expected: dict[str, Tensor]
    inputs: dict[str, Any]
    seen: dict[str, Tensor]
    encoder: BertModel | None


def watch(model: LORA) -> dict[str, Tensor]:
    """Keep what goes through the parts that the released run has numbers of."""
    seen: dict[str, Tensor] = {}

    def fusion(_module: Any, args: tuple[Any, ...], output: Tensor) -> None:
        seen["fusion_input"], seen["fused"] = args[0], output

    model.fusion.register_forward_hook(fusion)
    if isinstance(model, TGCAPVT):
        for stage in (1, 4):
            module = model.frequency[stage - 1]
            name = f"frequency_out{stage}"
            module.register_forward_hook(lambda _m, _a, out, name=name: seen.update({name: out}))
    return seen


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    folder = GOLDEN / request.param
    fields = json.loads((folder / "config.json").read_text())
    expected = load_file(folder / "case.safetensors")
    result = convert_checkpoint(folder / "official_state_dict.safetensors", image_size=fields["image_size"])
    model = result.model
    assert isinstance(model, LORA)
    assert model.config.alpha == fields["alpha"] and model.config.depths == tuple(fields["depths"])
    if isinstance(model, TGCAPVT):
        model = copy.deepcopy(model)
        state = model.state_dict()
        model = build_network(model.config.model_copy(update={"topic_context": "batch"})).eval()
        model.load_state_dict(state)
    inputs: dict[str, Any] = {"image": expected["image"], "labels": expected["labels"]}
    encoder = None
    if "input_ids" in expected:
        encoder = BertModel(BertConfig(**fields["bert"])).eval().requires_grad_(False)
        encoder.load_state_dict(result.text_encoder, strict=False)
        assert {name for name, _ in encoder.named_parameters()} <= set(result.text_encoder)
        states = encoder(
            input_ids=expected["input_ids"],
            attention_mask=expected["attention_mask"],
            output_hidden_states=True,
        ).hidden_states
        inputs["text_tokens"] = last_four_mean(states)
    if "topic_ids" in expected:
        inputs["topics"] = expected["topic_ids"]
    seen = watch(model)
    with released_choice(expected, SELECTS):
        output = model(**inputs)
    assert output.loss is not None
    output.loss.backward()
    return Case(request.param, model, output, expected, inputs, dict(seen), encoder)


def agree(actual: Tensor | None, expected: Tensor) -> None:
    assert actual is not None
    difference = (actual.detach() - expected.reshape(actual.shape)).abs()
    assert bool(((difference <= 1e-4) | (difference <= 1e-4 * expected.reshape(actual.shape).abs())).all())


def doubled(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}


def test_chosen_patches_are_the_released_ones(case: Case) -> None:
    with torch.no_grad():
        chosen = case.model(**case.inputs).lra_indices
    for ours, theirs in zip(chosen, released_indices(case.expected), strict=True):
        assert torch.equal(ours.sort().values, theirs.sort().values)


def test_order_of_patches_is_the_released_one_by_exact_scores(case: Case) -> None:
    model = copy.deepcopy(case.model).double()
    with torch.no_grad():
        ours = model(**doubled(case.inputs)).lra_indices
    for chosen, released in zip(ours, released_indices(case.expected), strict=True):
        assert torch.equal(chosen, released)


@pytest.mark.parametrize("name", ["visual_tokens", "logits", "loss"])
def test_output_agrees(case: Case, name: str) -> None:
    agree(getattr(case.output, name), case.expected[name])


@pytest.mark.parametrize("name", ["fusion_input", "fused", "frequency_out1", "frequency_out4"])
def test_inner_tensor_agrees(case: Case, name: str) -> None:
    assert (name in case.seen) == (name in case.expected)
    if name in case.seen:
        agree(case.seen[name], case.expected[name])


def test_text_tokens_agree(case: Case) -> None:
    assert ("text_tokens" in case.inputs) == ("text_tokens" in case.expected)
    if "text_tokens" in case.inputs:
        agree(case.inputs["text_tokens"], case.expected["text_tokens"])


def test_every_gradient_norm_agrees(case: Case) -> None:
    parameters = dict(case.model.named_parameters())
    seen = set()
    for name, value in case.expected.items():
        if not name.startswith("grad_norm/"):
            continue
        ours = peer_name(name.removeprefix("grad_norm/"))
        assert ours is not None, name
        if name.startswith("grad_norm/vision_model.patch_embed1.fft.SE"):
            # Matrices of width 0 there; here the half that comes of them.
            assert value == 0 and ours not in parameters
            continue
        gradient = parameters[ours].grad
        assert gradient is not None, name
        agree(gradient.norm(), value)
        seen.add(ours)
    assert set(parameters) == seen


def test_formulas_written_out_give_the_released_numbers(case: Case) -> None:
    """So slow_peers.py, which other shapes are compared with, stands on the release too."""
    topics = None
    if "topics" in case.inputs:
        topics = [tuple(row.tolist()) for row in case.inputs["topics"]]
    exact = doubled(case.inputs)
    theirs = slow_peer(
        copy.deepcopy(case.model).double(),
        exact["image"],
        exact.get("text_tokens"),
        exact["labels"],
        topics=topics,
        indices=released_indices(case.expected),
    )
    agree(theirs.logits, case.expected["logits"])
    agree(theirs.loss, case.expected["loss"])


class TestTopics:
    """Of TGCA-PVT: its logits hang on who shares the batch."""

    @pytest.fixture
    def tgca(self) -> tuple[TGCAPVT, dict[str, Tensor]]:
        folder = GOLDEN / "tgca_a"
        model = convert_checkpoint(folder / "official_state_dict.safetensors", image_size=64).model
        assert isinstance(model, TGCAPVT)
        return model, load_file(folder / "case.safetensors")

    def test_groups_are_ranks_of_the_id_rows(self, tgca: tuple[TGCAPVT, dict[str, Tensor]]) -> None:
        _, expected = tgca
        assert torch.equal(topic_groups(expected["topic_ids"]), expected["topic_group"].flatten())

    def test_self_is_the_default_and_gives_the_logits_of_batches_of_one(
        self, tgca: tuple[TGCAPVT, dict[str, Tensor]]
    ) -> None:
        model, expected = tgca
        assert model.config.topic_context == "self"
        # Order by scores 1e-5 apart is another matter, compared above.
        with torch.no_grad(), released_choice(expected, SELECTS):
            logits = model(expected["image"], expected["text_tokens"]).logits
        agree(logits, expected["logits_alone"])
        assert (logits - expected["logits"]).abs().max() > 1

    def test_batch_and_topic_are_one_forward_pass(self, tgca: tuple[TGCAPVT, dict[str, Tensor]]) -> None:
        model, expected = tgca
        for name in ("batch", "topic"):
            other = TGCAPVT(model.config.model_copy(update={"topic_context": name})).eval()
            other.load_state_dict(model.state_dict())
            with torch.no_grad(), released_choice(expected, SELECTS):
                output = other(expected["image"], expected["text_tokens"], topics=expected["topic_ids"])
            agree(output.logits, expected["logits"])
