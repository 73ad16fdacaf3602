"""The released code's own numbers, reproduced from its weights (tests/golden/README.md says how)."""

import copy
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from released_choice import released_choice, released_indices
from safetensors.torch import load_file
from slow_reference import reference
from transformers import BertConfig, BertModel

from mghft.model import MGHFT, MGHFTConfig, MGHFTOutput
from mghft.model.convert import load_official_checkpoint, mghft_name
from mghft.model.text_encoder import pool

GOLDEN = Path(__file__).parents[1] / "golden"


class Case(NamedTuple):
    model: MGHFT
    output: MGHFTOutput
    expected: dict[str, torch.Tensor]
    encoder: BertModel
    features: torch.Tensor


def _config(fields: dict[str, Any]) -> MGHFTConfig:
    stage_order = ("intention", "style", "content", "details")
    same = (
        "alpha",
        "image_size",
        "embed_dims",
        "depths",
        "num_heads",
        "mlp_ratios",
        "sr_ratios",
        "hidden_dim",
    )
    return MGHFTConfig.preset(
        "official",
        **{name: fields[name] for name in (*same, "num_classes", "label_smoothing", "alignment_weight")},
        local_stages=[bool(flag) for flag in fields["locals"]],
        fusion_heads=fields["fuse_num_heads"],
        fusion_mlp_dim=fields["fuse_mlp_dim"],
        text_dim=fields["bert"]["hidden_size"],
        views=stage_order,
    )


@pytest.fixture(scope="module", params=["a", "b"])
def case(request: pytest.FixtureRequest) -> Case:
    folder = GOLDEN / request.param
    fields = json.loads((folder / "config.json").read_text())
    expected = load_file(folder / "case.safetensors")
    model = MGHFT(_config(fields)).eval()
    bert_weights = load_official_checkpoint(model, folder / "official_state_dict.safetensors")
    encoder = BertModel(BertConfig(**fields["bert"])).eval().requires_grad_(False)
    encoder.load_state_dict(bert_weights, strict=False)
    assert {name for name, _ in encoder.named_parameters()} <= set(bert_weights)
    ids, mask = expected["input_ids"].flatten(0, 1), expected["attention_mask"].flatten(0, 1)
    states = encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    features = pool(states, mask, "last4_mean").unflatten(0, (-1, 4))
    with released_choice(expected):
        output = model(expected["image"], features, labels=expected["labels"])
    assert output.loss is not None
    output.loss.backward()
    return Case(model, output, expected, encoder, features)


def agree(actual: torch.Tensor | None, expected: torch.Tensor) -> None:
    assert actual is not None
    difference = (actual.detach() - expected.reshape(actual.shape)).abs()
    assert bool(((difference <= 1e-4) | (difference <= 1e-4 * expected.reshape(actual.shape).abs())).all())


def test_chosen_patches_are_the_released_ones(case: Case) -> None:
    with torch.no_grad():
        chosen = case.model(case.expected["image"], case.features).lra_indices
    for ours, theirs in zip(chosen, released_indices(case.expected), strict=True):
        assert torch.equal(ours.sort().values, theirs.sort().values)


def test_released_order_of_patches_is_that_of_exact_scores_and_so_is_ours(case: Case) -> None:
    model = copy.deepcopy(case.model).double()
    image, features = case.expected["image"].double(), case.features.double()
    with torch.no_grad():
        ours = model(image, features).lra_indices
        scores = reference(model, image, features).scores
    for chosen, released, exact in zip(ours, released_indices(case.expected), scores, strict=True):
        best = exact.sort(dim=-1, descending=True).values[..., : chosen.shape[-1]]
        assert torch.equal(exact.gather(-1, chosen), best)
        # Another order than theirs is at most a matter of the last bits of their float32.
        torch.testing.assert_close(exact.gather(-1, released), best, rtol=1e-5, atol=0.0)


@pytest.mark.parametrize(
    "name", ["view_embeddings", "visual_tokens", "text_tokens", "alignment_loss", "logits"]
)
def test_tensor_agrees(case: Case, name: str) -> None:
    agree(getattr(case.output, name), case.expected[name])


def test_total_loss_agrees(case: Case) -> None:
    agree(case.output.loss, case.expected["total_loss"])


def test_every_gradient_norm_agrees(case: Case) -> None:
    parameters = dict(case.model.named_parameters())
    golden = {name: value for name, value in case.expected.items() if name.startswith("grad_norm/")}
    seen = set()
    for name, value in golden.items():
        ours = mghft_name(name.removeprefix("grad_norm/"))
        assert ours is not None, name
        gradient = parameters[ours].grad
        assert gradient is not None, name
        agree(gradient.norm(), value)
        seen.add(ours)
    assert set(parameters) - seen == {"missing_view_embedding"}


def test_text_encoder_gets_no_gradient(case: Case) -> None:
    assert all(parameter.grad is None for parameter in case.encoder.parameters())


def test_formulas_written_out_give_the_released_numbers(case: Case) -> None:
    """So slow_reference.py, which other shapes of the model are compared with, stands on the release too."""
    released = released_indices(case.expected)
    inputs = (case.expected["image"], case.features)
    theirs = reference(case.model, *inputs, labels=case.expected["labels"], indices=released)
    agree(theirs.logits, case.expected["logits"])
    agree(theirs.alignment_loss, case.expected["alignment_loss"])
    agree(theirs.loss, case.expected["total_loss"])
