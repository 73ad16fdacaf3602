"""MGHFT against its own formulas written out (slow_reference.py), in float64, over the shapes it can take."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch
from slow_reference import Reference, reference
from torch import Tensor

from mghft.model import MGHFT, MGHFTConfig, MGHFTOutput

TINY, SMALL, MEDIUM, LARGE = (2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 18, 3), (3, 8, 27, 3)
RELEASED_PATTERNS = ["1110", "1100", "1010", "1000", "0000"]
OTHER_PATTERNS = ["0110", "0010", "0100", "1111", "0001"]


class Case(NamedTuple):
    name: str
    size: tuple[int, int] = (64, 64)
    present: tuple[str, ...] | None = None  # per sample, one character per view, "-" for a missing one
    fields: Mapping[str, Any] = MappingProxyType({})


def _pattern(flags: str) -> tuple[bool, ...]:
    return tuple(flag == "1" for flag in flags)


CASES = [
    *(Case(f"depths {d}", fields={"depths": d}) for d in (TINY, SMALL, MEDIUM, LARGE, (1, 1, 1, 1))),
    *(Case(f"alpha {alpha}", (96, 96), fields={"alpha": alpha}) for alpha in range(1, 9)),
    *(
        Case(f"size {height}x{width}", (height, width))
        for height, width in [(32, 32), (96, 96), (128, 128), (160, 160), (224, 224), (64, 160), (96, 32)]
    ),
    Case("as many patches as are chosen, oblong", (32, 64), fields={"alpha": 2}),
    Case("small at 224 with alpha 8", (224, 224), fields={"depths": SMALL, "alpha": 8}),
    *(
        Case(
            f"locals {flags} {last}",
            fields={"local_stages": _pattern(flags), "last_stage_text_token": last, "depths": (2, 1, 3, 2)},
        )
        for flags in RELEASED_PATTERNS + OTHER_PATTERNS
        for last in ("own", "previous")
    ),
    *(
        Case(f"sr {ratios}", (side, side), fields={"sr_ratios": ratios})
        for ratios, side in [
            ((4, 2, 1, 1), 64),
            ((1, 1, 1, 1), 32),
            ((8, 8, 4, 1), 64),
            ((3, 1, 1, 1), 96),
            ((2, 2, 2, 1), 32),
        ]
    ),
    Case("no text", fields={"use_text": False}),
    Case("some views missing", present=("csid", "-si-", "----"), fields={"depths": SMALL}),
    Case("every view missing", present=("----",) * 3),
    Case("own order of views", fields={"stage_views": ("details", "content", "style", "intention")}),
    Case("a stage without a view", fields={"stage_views": ("intention", None, "content", None)}),
    Case("one view", fields={"views": ("content",), "stage_views": ("content",) * 4}),
    Case(
        "six views",
        present=("abcdef", "-bcd-f", "a-cd-f"),
        fields={"views": tuple("abcdef"), "stage_views": ("f", "a", "a", "c")},
    ),
    Case(
        "views before any class token",
        fields={"local_stages": _pattern("0010"), "stage_views": ("intention", "style", None, None)},
    ),
    *(
        Case(f"without {switch}", present=("csid", "-si-", "cs-d"), fields={switch: False})
        for switch in (
            "alignment",
            "local_fusion",
            "global_fusion",
            "text_guided_attention",
            "local_reattention",
        )
    ),
    *(
        Case(f"fusion in stages {flags}", fields={"fusion_stages": _pattern(flags)})
        for flags in ("0111", "1011", "1101", "1110", "0001")
    ),
]


class Compared(NamedTuple):
    model: MGHFT
    inputs: dict[str, Any]
    ours: MGHFTOutput
    theirs: Reference


def _build(case: Case) -> tuple[MGHFT, dict[str, Any]]:
    torch.manual_seed(0)
    shape = {
        "image_size": 64 * case.fields.get("sr_ratios", (1,))[0],
        "embed_dims": (6, 8, 20, 16),
        "depths": TINY,
        "hidden_dim": 24,
        "fusion_heads": 3,
        "fusion_mlp_dim": 32,
        "mlp_ratios": (2, 2, 1, 1),
        "text_dim": 10,
    }
    if case.fields.get("alpha", 1) > 4:
        shape["image_size"] = 96
    model = MGHFT(MGHFTConfig.preset("tiny", **{**shape, **case.fields})).eval().double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    config, batch = model.config, 3
    inputs: dict[str, Any] = {
        "image": torch.randn(batch, 3, *case.size, dtype=torch.float64),
        "labels": torch.tensor([0, 3, 6]),
    }
    if config.use_text:
        views = (len(config.views), config.text_dim)
        model.set_text_statistics(torch.randn(views), torch.tensor(1.5))
        inputs["text_features"] = torch.randn(batch, *views, dtype=torch.float64)
    if case.present is not None:
        inputs["text_mask"] = torch.tensor([[mark != "-" for mark in row] for row in case.present])
    return model, inputs


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def compared(request: pytest.FixtureRequest) -> Compared:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model, inputs = _build(request.param)
    result = Compared(model, inputs, model(**inputs), reference(model, **inputs))
    torch.set_num_threads(threads)
    return result


def _agree(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


def test_logits_are_those_of_the_formulas(compared: Compared) -> None:
    _agree(compared.ours.logits, compared.theirs.logits)


def test_fused_tokens_are_those_of_the_formulas(compared: Compared) -> None:
    _agree(compared.ours.visual_tokens, compared.theirs.visual_tokens)
    ours, theirs = compared.ours.text_tokens, compared.theirs.text_tokens
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        _agree(ours, theirs)


def test_chosen_patches_are_those_of_the_full_products(compared: Compared) -> None:
    assert len(compared.ours.lra_indices) == len(compared.theirs.indices)
    for ours, theirs in zip(compared.ours.lra_indices, compared.theirs.indices, strict=True):
        assert torch.equal(ours, theirs)


def test_alignment_loss_is_that_of_the_formulas(compared: Compared) -> None:
    ours, theirs = compared.ours.alignment_loss, compared.theirs.alignment_loss
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        _agree(ours, theirs)


def test_total_loss_is_that_of_the_formulas(compared: Compared) -> None:
    assert compared.ours.loss is not None and compared.theirs.loss is not None
    _agree(compared.ours.loss, compared.theirs.loss)


def test_gradients_are_those_of_the_formulas(compared: Compared) -> None:
    names, parameters = zip(*compared.model.named_parameters(), strict=True)
    ours = torch.autograd.grad(compared.ours.loss, parameters)
    theirs = torch.autograd.grad(compared.theirs.loss, parameters, allow_unused=True)
    for name, parameter, actual, expected in zip(names, parameters, ours, theirs, strict=True):
        expected = torch.zeros_like(parameter) if expected is None else expected
        scale = max(1.0, float(expected.norm()))
        assert float((actual - expected).norm()) <= 1e-9 * scale, name


def test_float32_stays_near_the_formulas_given_its_choice_of_patches() -> None:
    """Scores that float32 can't tell apart may change places, so the choice is judged by its scores."""
    for case in (Case("small", (96, 96), fields={"depths": SMALL, "alpha": 2}), CASES[3]):
        model, inputs = _build(case)
        single = copy.deepcopy(model).float()
        ours = single(**{name: x.float() if x.is_floating_point() else x for name, x in inputs.items()})
        theirs = reference(model, **inputs, indices=list(ours.lra_indices))
        for chosen, scores in zip(ours.lra_indices, theirs.scores, strict=True):
            best = scores.sort(dim=-1, descending=True).values[..., : chosen.shape[-1]]
            torch.testing.assert_close(scores.gather(-1, chosen), best, rtol=1e-4, atol=0.0)
        torch.testing.assert_close(ours.logits.double(), theirs.logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.loss.double(), theirs.loss, rtol=1e-4, atol=1e-4)
