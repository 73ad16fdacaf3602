"""Every ingredient can be switched off, alone and with any other, and then it is gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mghft.model import MGHFT, MGHFTConfig, count_parameters

Build = Callable[..., MGHFT]
Batch = dict[str, Tensor]

SWITCHES: dict[str, dict[str, Any]] = {
    **{
        name: {name: False}
        for name in (
            "alignment",
            "local_fusion",
            "global_fusion",
            "text_guided_attention",
            "local_reattention",
            "use_text",
        )
    },
    **{f"stage {stage + 1}": {"fusion_stages": tuple(s != stage for s in range(4))} for stage in range(4)},
    **{
        f"view of stage {stage + 1}": {
            "stage_views": tuple(
                None if s == stage else view
                for s, view in enumerate(MGHFTConfig.model_fields["stage_views"].default)
            )
        }
        for stage in range(4)
    },
    "content": {"views": ("style", "intention", "details")},
    "view dropout": {"view_dropout": 0.5},
    "no early class tokens": {"local_stages": (False,) * 4},
    "released text token": {"last_stage_text_token": "previous"},
    "projected last stage": {"local_stages": (True,) * 4},
}
PAIRS = [
    (first, second)
    for first, second in combinations(SWITCHES, 2)
    if not SWITCHES[first].keys() & SWITCHES[second].keys()
    and {first.split()[0], second.split()[0]} != {"content", "view"}
]


def _train_once(model: MGHFT) -> None:
    """One step's forward and backward on a batch whose texts are partly missing."""
    config = model.config
    text: Batch = {}
    if config.use_text:
        text = {
            "text_features": torch.randn(3, len(config.views), config.text_dim),
            "text_mask": torch.rand(3, len(config.views)) > 0.3,
        }
    side = config.image_size
    output = model.train()(torch.randn(3, 3, side, side), **text, labels=torch.tensor([0, 3, 6]))
    assert output.visual_tokens.shape[1] == config.num_visual_tokens
    output.loss.backward()


def _without_gradient(model: MGHFT) -> list[str]:
    return [name for name, parameter in model.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize("switch", SWITCHES)
def test_without_one_ingredient_every_parameter_still_learns(tiny: Build, switch: str) -> None:
    model = tiny(**SWITCHES[switch])
    _train_once(model)
    assert _without_gradient(model) == []


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_without_two_ingredients_every_parameter_still_learns(tiny: Build, first: str, second: str) -> None:
    model = tiny(**SWITCHES[first], **SWITCHES[second])
    _train_once(model)
    assert _without_gradient(model) == []


@pytest.mark.parametrize("flags", range(1, 32))
def test_every_set_of_the_five_ingredients_trains(tiny: Build, flags: int) -> None:
    names = ("alignment", "local_fusion", "global_fusion", "text_guided_attention", "local_reattention")
    switches = {name: bool(flags >> bit & 1) for bit, name in enumerate(names)}
    switches["use_text"] = flags not in {2, 16}  # nothing but LRA, or local fusion of no tokens: text is idle
    model = tiny(**switches)
    _train_once(model)
    assert _without_gradient(model) == []


@pytest.mark.parametrize(
    ("switch", "gone"),
    [
        ("alignment", set()),
        ("global_fusion", set()),
        ("local_fusion", {"stage_text_projections"}),
        ("text_guided_attention", {"text_projection"}),
        ("local_reattention", {"stage_text_projections", "local_projections"}),
        (
            "use_text",
            {"stage_text_projections", "text_projection", "view_projection", "missing_view_embedding"},
        ),
    ],
)
def test_switched_off_part_leaves_no_parameters(switch: str, gone: set[str]) -> None:
    full, without = (
        count_parameters(MGHFTConfig.preset("tiny", **fields)) for fields in ({}, {switch: False})
    )
    assert full.keys() - without.keys() == gone


@pytest.mark.parametrize("stage", range(4))
def test_stage_switched_off_is_a_bare_stage_of_pvt(stage: int) -> None:
    model = MGHFT(MGHFTConfig.preset("tiny", **SWITCHES[f"stage {stage + 1}"]))
    of_stage = [name for name, _ in model.named_parameters() if f"projections.{stage}." in name]
    assert of_stage == []
    assert hasattr(model.backbone.stages[stage], "class_token") == (stage == 3)


def test_default_configuration_has_every_ingredient() -> None:
    assert MGHFTConfig().local_text_stages == MGHFTConfig().alignment_stages == (True,) * 4
    assert MGHFTConfig().view_dropout == 0.0


def test_checkpoint_from_before_the_switches_loads(tiny: Build, batch: Batch, tmp_path: Path) -> None:
    model = tiny()
    model.save_pretrained(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    newer = ("alignment", "local_fusion", "global_fusion", "text_guided_attention", "local_reattention")
    for name in (*newer, "fusion_stages", "view_dropout"):
        del fields[name]
    (tmp_path / "config.json").write_text(json.dumps(fields))
    assert torch.equal(MGHFT.from_pretrained(tmp_path)(**batch).logits, model(**batch).logits)


def test_switches_are_saved_with_the_model(tiny: Build, tmp_path: Path) -> None:
    model = tiny(stage_views=("style", None, "style", None), local_fusion=False, view_dropout=0.25)
    model.save_pretrained(tmp_path)
    assert MGHFT.from_pretrained(tmp_path).config == model.config


def test_without_alignment_the_loss_is_classification_alone(tiny: Build, batch: Batch) -> None:
    output = tiny(alignment=False)(**batch)
    assert output.alignment_loss is None
    assert torch.equal(output.loss, output.classification_loss)


def test_without_alignment_the_prediction_is_the_same(tiny: Build, batch: Batch) -> None:
    full, without = tiny(), tiny(alignment=False)
    without.load_state_dict(full.state_dict())
    assert torch.equal(without(**batch).logits, full(**batch).logits)


def test_without_local_fusion_text_reaches_no_local_token(tiny: Build, batch: Batch) -> None:
    def local_tokens(model: MGHFT, shift: float) -> Tensor:
        return model(batch["image"], batch["text_features"] + shift).visual_tokens[:, 4:]

    full, without = tiny(), tiny(local_fusion=False)
    assert not torch.allclose(local_tokens(full, 0.0), local_tokens(full, 1.0), atol=1e-3)
    assert torch.equal(local_tokens(without, 0.0), local_tokens(without, 1.0))
    assert without(batch["image"], batch["text_features"]).text_tokens.shape == (3, 4, 64)


def test_without_global_fusion_text_reaches_no_global_token(tiny: Build, batch: Batch) -> None:
    def global_tokens(model: MGHFT, shift: float) -> Tensor:
        return model(batch["image"], batch["text_features"] + shift).visual_tokens[:, :4]

    full, without = tiny(), tiny(global_fusion=False)
    assert not torch.allclose(global_tokens(full, 0.0), global_tokens(full, 1.0), atol=1e-3)
    assert torch.equal(global_tokens(without, 0.0), global_tokens(without, 1.0))


def test_without_text_guided_attention_only_the_soft_fusions_hear_the_text(tiny: Build, batch: Batch) -> None:
    model = tiny(text_guided_attention=False)
    output = model(**batch)
    assert output.text_tokens is None
    visual = model.visual_projection(output.visual_tokens) + model.token_positions
    torch.testing.assert_close(output.logits, model.head(model.fusion(visual, None)))


def test_without_reattention_there_are_only_global_tokens(tiny: Build, batch: Batch) -> None:
    output = tiny(local_reattention=False)(**batch)
    assert output.lra_indices == ()
    assert output.visual_tokens.shape == (3, 4, 64) and output.text_tokens.shape == (3, 4, 64)


def test_without_reattention_any_alpha_fits_the_image() -> None:
    assert MGHFTConfig.preset("tiny", local_reattention=False, alpha=99).num_visual_tokens == 4


def test_stage_without_a_view_keeps_its_visual_tokens(tiny: Build, batch: Batch) -> None:
    output = tiny(stage_views=("intention", None, "content", "details"))(**batch)
    assert output.visual_tokens.shape == (3, MGHFTConfig.preset("tiny").num_visual_tokens, 64)
    assert output.view_embeddings.shape == (3, 3, 64) and output.text_tokens.shape == (3, 3 + 3, 64)


def test_view_that_no_stage_reads_changes_nothing(tiny: Build, batch: Batch) -> None:
    model = tiny(stage_views=("intention", None, "content", "details"))
    before = model(**batch)
    batch["text_features"][:, model.config.views.index("style")] += 1.0
    after = model(**batch)
    assert torch.equal(after.logits, before.logits) and torch.equal(after.loss, before.loss)


def test_view_left_out_of_views_leaves_its_stage_without_text() -> None:
    config = MGHFTConfig(views=("content", "intention", "details"))
    assert config.stage_views == ("intention", None, "content", "details")


def test_alignment_starts_at_the_first_class_token() -> None:
    config = MGHFTConfig.preset("tiny", local_stages=(False, True, False, False))
    assert config.alignment_stages == (False, True, True, True)


def test_swapping_the_views_of_two_stages_equals_swapping_their_features(tiny: Build, batch: Batch) -> None:
    model = tiny()
    swapped = tiny(stage_views=("content", "style", "intention", "details"))
    swapped.load_state_dict(model.state_dict())
    swapped.missing_view_embedding.data[[0, 2]] = swapped.missing_view_embedding.data[[2, 0]]
    assert not torch.allclose(swapped(**batch).logits, model(**batch).logits, atol=1e-3)
    batch["text_features"][:, [0, 2]] = batch["text_features"][:, [2, 0]]
    exchanged = model(**batch)
    batch["text_features"][:, [0, 2]] = batch["text_features"][:, [2, 0]]
    assert torch.equal(swapped(**batch).logits, exchanged.logits)
    assert torch.equal(swapped(**batch).loss, exchanged.loss)


def _hidden(model: MGHFT, batch: Batch, mask: Tensor | None = None) -> Tensor:
    """[B, views] True where the stand-in was used, read off the projected views."""
    with torch.no_grad():
        shown, _ = model.stage_view_embeddings(batch["text_features"], mask, len(batch["text_features"]))
        columns = [model.config.views.index(view) for view in model.config.stage_views]
        stand_ins = model.view_projection(model.missing_view_embedding[columns])
    return (shown == stand_ins).all(dim=-1)


def test_view_dropout_hides_each_view_with_its_chance(tiny: Build) -> None:
    hidden = _hidden(tiny(view_dropout=0.25).train(), {"text_features": torch.randn(2000, 4, 32)})
    assert 0.22 < hidden.float().mean() < 0.28
    assert 0.0 < hidden.all(dim=1).float().mean() < 0.01  # drawn for every view alone: 0.25 ** 4
    assert all(0.2 < share < 0.3 for share in hidden.float().mean(dim=0).tolist())


def test_view_dropout_never_acts_in_evaluation(tiny: Build, batch: Batch) -> None:
    with_dropout, without = tiny(view_dropout=0.9).eval(), tiny()
    without.load_state_dict(with_dropout.state_dict())
    assert torch.equal(with_dropout(**batch).loss, without(**batch).loss)


def test_view_dropout_repeats_with_the_seed(tiny: Build, batch: Batch) -> None:
    model = tiny(view_dropout=0.5, drop_path=0.0, fusion_dropout=0.0).train()

    def loss(seed: int) -> float:
        torch.manual_seed(seed)
        return model(**batch).loss.item()

    assert loss(1) == loss(1) != loss(2)


def test_dropped_views_take_no_part_in_the_alignment_loss(tiny: Build, batch: Batch) -> None:
    model = tiny(view_dropout=0.5, drop_path=0.0, fusion_dropout=0.0).train()
    torch.manual_seed(4)
    kept = torch.rand(3, 4) >= 0.5
    assert kept.any() and not kept.all()
    torch.manual_seed(4)
    dropped = model(**batch)
    masked = model.eval()(**batch, text_mask=kept)
    torch.testing.assert_close(dropped.alignment_loss, masked.alignment_loss)
    torch.testing.assert_close(dropped.logits, masked.logits)


def test_view_dropout_shows_no_view_that_is_missing(tiny: Build, batch: Batch) -> None:
    mask = torch.zeros(3, 4, dtype=torch.bool)
    batch["text_features"].fill_(torch.nan)
    assert bool(_hidden(tiny(view_dropout=0.5).train(), batch, mask).all())
