from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mghft.model import MGHFT
from mghft.model.explanation import explain
from mghft.model.visualize import overlay, overview

Build = Callable[..., MGHFT]
Batch = dict[str, Tensor]


def _inputs(batch: Batch) -> tuple[Tensor, Tensor]:
    return batch["image"], batch["text_features"]


def test_logits_and_indices_are_the_models_own(tiny: Build, batch: Batch) -> None:
    model = tiny()
    output = model(*_inputs(batch))
    found = explain(model, *_inputs(batch))
    assert torch.equal(found.logits, output.logits)
    for ours, theirs in zip(found.selected.values(), output.lra_indices, strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(model(*_inputs(batch)).logits, output.logits)


def test_a_training_model_is_explained_as_in_evaluation_and_given_back(tiny: Build, batch: Batch) -> None:
    model = tiny(drop_path=0.9)
    expected = model(*_inputs(batch)).logits
    model.train()
    found = explain(model, *_inputs(batch))
    assert torch.equal(found.logits, expected)
    assert model.training and not model.backbone._forward_hooks and not model.fusion.attention._forward_hooks


def test_selected_scores_are_the_largest_of_their_head(tiny: Build, batch: Batch) -> None:
    found = explain(tiny(), *_inputs(batch))
    for stage, scores in found.patch_scores.items():
        best = scores.sort(dim=-1, descending=True).values[..., : found.selected[stage].shape[-1]]
        assert torch.equal(found.selected_scores[stage], best)
        assert scores.shape[-1] == found.grids[stage][0] * found.grids[stage][1]


def test_attention_sums_to_one(tiny: Build, batch: Batch) -> None:
    found = explain(tiny(), *_inputs(batch))
    assert found.text_attention is not None and found.text_attention.shape[-1] == len(found.text_labels)
    for weights in (found.text_attention, found.visual_attention):
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:2]))


def test_attention_maps_and_global_tokens_share_all_attention(tiny: Build, batch: Batch) -> None:
    found = explain(tiny(), *_inputs(batch))
    maps = sum(found.attention_map(stage).sum(dim=(1, 2)) for stage in found.selected)
    on_global = found.visual_attention.mean(dim=1)[:, found.visual_patches[0] < 0].sum(dim=1)
    torch.testing.assert_close(maps + on_global, torch.ones(3))


def _attend_to_token(model: MGHFT, token: int) -> None:
    """Plants a fusion block that looks at one visual token alone, whatever the picture shows."""
    attention = model.fusion.attention
    torch.nn.init.zeros_(model.visual_projection.weight)
    torch.nn.init.zeros_(model.visual_projection.bias)
    torch.nn.init.zeros_(attention.query.weight)
    torch.nn.init.ones_(model.fusion.attention_norm.weight)
    torch.nn.init.zeros_(model.fusion.attention_norm.bias)
    width = model.config.hidden_dim
    direction = torch.linspace(-1, 1, width)
    model.token_positions.data.normal_(std=1e-3)
    model.token_positions.data[0, token] = direction
    marked = torch.nn.functional.layer_norm(direction, (width,))
    attention.key.weight.data = marked.expand(width, -1).clone()
    torch.nn.init.ones_(attention.query.bias)


def test_attended_token_is_mapped_to_its_stage_and_patch(tiny: Build, batch: Batch) -> None:
    """Three tokens behind the four global ones, counted from the end of the stages' local tokens."""
    model = tiny(use_text=False)
    chosen = model(batch["image"]).lra_indices
    sources = [
        (stage, indices[:, head, place])
        for stage, indices in enumerate(chosen)
        for head in range(indices.shape[1])
        for place in range(indices.shape[2])
    ]
    for behind, (stage, patches) in ((0, sources[-1]), (len(sources) - 1, sources[0]), (20, sources[-21])):
        _attend_to_token(model, 4 + behind)
        found = explain(model, batch["image"])
        assert found.visual_attention[..., 4 + behind].min() > 0.99
        heat = found.attention_map(stage).flatten(1)
        assert torch.equal(heat.argmax(dim=1), patches)
        assert heat.max(dim=1).values.min() > 0.99


def test_planted_patch_is_the_one_selected(tiny: Build) -> None:
    """Keys of one block set so that the class token of the last stage looks at one patch."""
    model = tiny(depths=(1, 1, 1, 1), use_text=False)
    stage = model.backbone.stages[3]
    attention = stage.blocks[0].attention
    width = stage.position_embedding.shape[-1]
    torch.nn.init.zeros_(stage.patch_projection.weight)
    torch.nn.init.zeros_(attention.query.weight)
    torch.nn.init.ones_(attention.query.bias)
    attention.key_value.weight.data[:width] = 1.0
    stage.blocks[0].attention_norm.weight.data = torch.linspace(-1, 1, width)
    stage.blocks[0].attention_norm.bias.data.zero_()
    stage.patch_norm.bias.data.zero_()
    stage.position_embedding.data.normal_(std=1e-3)
    stage.class_token.data.zero_()
    planted = 17
    stage.position_embedding.data[0, 1 + planted] = torch.linspace(-1, 1, width)
    found = explain(model, torch.randn(2, 3, 224, 224))
    assert bool((found.selected[3] == planted).all())
    assert bool((found.score_map(3).flatten(1).argmax(dim=1) == planted).all())


def test_first_step_of_fusion_attends_to_the_planted_text_token(tiny: Build, batch: Batch) -> None:
    model = tiny(views=("a", "b", "c", "d"), stage_views=("a", "b", "c", "d"))
    attention = model.fusion.attention
    torch.nn.init.zeros_(attention.query.weight)
    torch.nn.init.ones_(attention.query.bias)
    attention.key.weight.data.fill_(1.0)
    model.text_projection.weight.data.fill_(1.0)
    model.view_projection.weight.data.fill_(1.0)
    features = torch.zeros(3, 4, 32)
    features[:, 2] = 1.0
    for parameter in model.stage_text_projections.parameters():
        torch.nn.init.zeros_(parameter)
    found = explain(model, batch["image"], features)
    assert found.text_attention is not None
    best = found.text_attention.argmax(dim=-1)
    assert [found.text_labels[token] for token in best.flatten().unique()] == [("c", 2)]


def test_text_labels_follow_the_order_of_the_text_tokens(tiny: Build, batch: Batch) -> None:
    found = explain(tiny(), *_inputs(batch))
    assert [view for view, _ in found.text_labels] == ["details", "content", "style", "intention"] * 2


@pytest.mark.parametrize(
    "switches",
    [
        {"local_fusion": False},
        {"text_guided_attention": False},
        {"local_reattention": False},
        {"fusion_stages": (False, True, False, True)},
        {"views": ("content", "style")},
        {"last_stage_text_token": "previous"},
        {"local_stages": (True, False, True, True)},
    ],
    ids=str,
)
def test_every_token_is_told_from_where_it_comes(
    tiny: Build, batch: Batch, switches: dict[str, object]
) -> None:
    model = tiny(**switches)
    features = batch["text_features"][:, : len(model.config.views)]
    found = explain(model, batch["image"], features)
    assert len(found.visual_stages) == found.visual_patches.shape[1] == found.visual_attention.shape[2]
    tokens = 0 if found.text_attention is None else found.text_attention.shape[2]
    assert len(found.text_labels) == tokens
    assert list(found.view_pull) == list(model.config.views)


def test_a_repeated_text_token_is_told_as_what_it_repeats(tiny: Build, batch: Batch) -> None:
    found = explain(tiny(last_stage_text_token="previous"), *_inputs(batch))
    assert found.text_attention is not None
    assert found.text_labels[4] == found.text_labels[5] == ("content", 2)
    assert torch.equal(found.text_attention[..., 4], found.text_attention[..., 5])


def test_an_ignored_view_pulls_nothing(tiny: Build, batch: Batch) -> None:
    model = tiny(stage_views=("style", "style", "content", "details"))
    found = explain(model, *_inputs(batch))
    assert torch.equal(found.view_pull["intention"], torch.zeros(3, 7))
    assert torch.equal(found.view_shapley["intention"], torch.zeros(3, 7))
    assert found.view_pull["style"].abs().max() > 1e-3


def test_pull_is_what_changes_when_the_view_is_missing(tiny: Build, batch: Batch) -> None:
    model = tiny()
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[:, 1] = False
    expected = model(*_inputs(batch)).logits - model(*_inputs(batch), mask).logits
    assert torch.equal(explain(model, *_inputs(batch)).view_pull["style"], expected)


def test_a_masked_view_pulls_nothing(tiny: Build, batch: Batch) -> None:
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[1, 3] = False
    found = explain(tiny(), *_inputs(batch), mask)
    assert torch.equal(found.view_pull["details"][1], torch.zeros(7))
    assert found.view_pull["details"][0].abs().max() > 0


def test_shapley_values_sum_to_what_all_views_add(tiny: Build, batch: Batch) -> None:
    model = tiny()
    found = explain(model, *_inputs(batch))
    added = found.logits - model(batch["image"]).logits
    torch.testing.assert_close(sum(found.view_shapley.values()), added, rtol=1e-4, atol=1e-4)


def test_shapley_value_is_the_mean_over_orders(tiny: Build, batch: Batch) -> None:
    from itertools import permutations

    model = tiny()
    expected = torch.zeros(3, 7)
    for order in permutations(range(4)):
        mask = torch.zeros(3, 4, dtype=torch.bool)
        mask[:, list(order[: order.index(2)])] = True
        before = model(*_inputs(batch), mask).logits
        mask[:, 2] = True
        expected += (model(*_inputs(batch), mask).logits - before) / 24
    found = explain(model, *_inputs(batch)).view_shapley["intention"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_without_text_there_is_no_text_to_explain(tiny: Build, batch: Batch) -> None:
    found = explain(tiny(use_text=False), batch["image"])
    assert found.text_attention is None and found.text_labels == () and found.view_pull == {}


def test_sides_may_differ(tiny: Build) -> None:
    model = tiny(use_text=False)
    found = explain(model, torch.randn(1, 3, 64, 96))
    assert found.grids == ((16, 24), (8, 12), (4, 6), (2, 3))
    assert found.attention_map(0).shape == found.score_map(0).shape == (1, 16, 24)


def _changed(before: Image.Image, after: Image.Image) -> np.ndarray:
    return (np.asarray(before.convert("RGB")) != np.asarray(after)).any(axis=-1)


def test_heat_changes_its_own_patch_alone() -> None:
    image = Image.new("RGB", (70, 42), "red")
    heat = torch.zeros(3, 5)
    heat[1, 3] = 0.2
    changed = _changed(image, overlay(image, heat))
    assert changed[14:28, 42:56].all()
    assert changed.sum() == 14 * 14


def test_outline_stays_on_the_border_of_its_patch() -> None:
    image = Image.new("RGB", (70, 42), "red")
    changed = _changed(image, overlay(image, selected=[8], grid=(3, 5)))
    assert not changed[16:26, 44:54].any()
    changed[14:28, 42:56] = False
    assert not changed.any()


def test_patches_of_a_picture_that_does_not_divide_evenly_cover_it_once() -> None:
    image = Image.new("RGB", (23, 17), "red")
    total = np.zeros((17, 23), dtype=int)
    for patch in range(15):
        heat = torch.zeros(15)
        heat[patch] = 1.0
        changed = _changed(image, overlay(image, heat.view(3, 5)))
        outlined = _changed(image, overlay(image, selected=[patch], grid=(3, 5)))
        assert not (outlined & ~changed).any()
        total += changed
    assert (total == 1).all()


def test_more_heat_is_darker_in_grey_too() -> None:
    image = Image.new("RGB", (60, 10), "white")
    painted = np.asarray(overlay(image, torch.linspace(0.1, 1, 6).view(1, 6)).convert("L")).astype(int)
    assert (np.diff(painted[5, 5::10]) < 0).all()


def test_transparent_stickers_lie_on_white() -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert overlay(image).getpixel((3, 3)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heat": -torch.ones(2, 2)}, "negative"),
        ({"selected": [0]}, "pass grid or heat"),
        ({"selected": [4], "grid": (2, 2)}, "patch 4 is not in a grid of 2 by 2"),
    ],
)
def test_impossible_overlays_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        overlay(Image.new("RGB", (8, 8)), **arguments)


def test_overview_has_a_panel_for_every_stage(tiny: Build, batch: Batch) -> None:
    found = explain(tiny(), *_inputs(batch))
    assert overview(Image.new("RGB", (64, 64), "red"), found, sample=2).width == 5 * 224 + 4 * 10
