from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from mghft.model import MGHFT, MGHFTConfig, count_parameters
from mghft.model.alignment import alignment_loss

Build = Callable[..., MGHFT]
Batch = dict[str, Tensor]


def test_without_text_there_is_no_way_for_text_to_enter(tiny: Build, batch: Batch) -> None:
    model = tiny(use_text=False)
    output = model(batch["image"], labels=batch["labels"])
    assert output.alignment_loss is None and output.text_tokens is None and output.view_embeddings is None
    assert torch.equal(output.loss, output.classification_loss)
    assert not [name for name, _ in model.named_parameters() if "text" in name or "view" in name]
    with pytest.raises(ValueError, match="use_text=False"):
        model(**batch)


def test_without_text_every_parameter_gets_a_gradient(tiny: Build, batch: Batch) -> None:
    model = tiny(use_text=False)
    model(batch["image"], labels=batch["labels"]).loss.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_with_text_every_parameter_gets_a_gradient(tiny: Build, batch: Batch) -> None:
    model = tiny()
    model(**batch).loss.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_text_changes_the_logits(tiny: Build, batch: Batch) -> None:
    model = tiny()
    other = {**batch, "text_features": batch["text_features"] + 1}
    assert not torch.allclose(model(**batch).logits, model(**other).logits, atol=1e-3)


def test_missing_view_is_replaced_by_its_stand_in(tiny: Build, batch: Batch) -> None:
    model = tiny()
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[1, 2] = False
    unwritten, replaced = batch["text_features"].clone(), batch["text_features"].clone()
    unwritten[1, 2] = torch.nan
    replaced[1, 2] = model.missing_view_embedding[2].detach()
    actual = model(batch["image"], unwritten, mask).logits
    assert torch.equal(actual, model(batch["image"], replaced).logits)


def test_gradient_stays_finite_where_a_missing_view_holds_nan(tiny: Build, batch: Batch) -> None:
    model = tiny()
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[1, 2] = False
    batch["text_features"][1, 2] = torch.nan
    model(**batch, text_mask=mask).loss.backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in model.parameters())
    assert model.missing_view_embedding.grad[2].abs().sum() > 0


def test_no_text_at_all_means_every_view_is_missing(tiny: Build, batch: Batch) -> None:
    model = tiny()
    stand_ins = model.missing_view_embedding.detach().expand(3, -1, -1)
    without = model(batch["image"], labels=batch["labels"])
    assert torch.equal(without.logits, model(batch["image"], stand_ins).logits)
    assert without.alignment_loss.item() == 0.0


def test_missing_views_take_no_part_in_the_alignment_loss(tiny: Build, batch: Batch) -> None:
    model = tiny(stage_views=("style", "style", "style", "content"))
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[0, 1] = False
    output = model(**batch, text_mask=mask)
    stage_tokens = [stage.class_token for stage in model.backbone(batch["image"])]
    expected = torch.zeros(())
    for stage, rows in enumerate([[1, 2], [1, 2], [1, 2], [0, 1, 2]]):
        token = stage_tokens[stage]
        token = token if stage == 3 else model.global_projections[str(stage)](token)
        view = output.view_embeddings[:, stage]
        expected = expected + alignment_loss(
            token[rows], view[rows], temperature=0.07, divergence_weight=30.0
        )
    torch.testing.assert_close(output.alignment_loss, expected)


def test_features_follow_the_order_of_views(tiny: Build, batch: Batch) -> None:
    model = tiny()
    model.missing_view_embedding.data.zero_()
    turned = MGHFT(model.config.model_copy(update={"views": model.config.views[::-1]})).eval()
    turned.load_state_dict(model.state_dict())
    actual = turned(batch["image"], batch["text_features"].flip(1)).logits
    torch.testing.assert_close(actual, model(batch["image"], batch["text_features"]).logits)


def test_stage_views_decide_which_view_feeds_a_stage(tiny: Build, batch: Batch) -> None:
    model = tiny(stage_views=("details", "style", "content", "intention"))
    output = model(batch["image"], batch["text_features"])
    expected = model.view_projection(batch["text_features"][:, [3, 1, 0, 2]])
    torch.testing.assert_close(output.view_embeddings, expected)


def test_last_stage_text_token_is_its_own_unless_the_release_is_reproduced(tiny: Build, batch: Batch) -> None:
    own, previous = tiny(), tiny(last_stage_text_token="previous")
    previous.load_state_dict(own.state_dict())
    tokens = own(batch["image"], batch["text_features"]).text_tokens
    released = previous(batch["image"], batch["text_features"]).text_tokens
    assert torch.equal(released[:, 4], released[:, 5])
    views = own(batch["image"], batch["text_features"]).view_embeddings
    torch.testing.assert_close(tokens[:, 4], own.stage_text_projections["3"](views[:, 3]))
    assert torch.equal(tokens[:, 5:], released[:, 5:])


@pytest.mark.parametrize(
    "overrides",
    [
        {"depths": (2, 3, 1, 2)},
        {"alpha": 3, "image_size": 96},
        {"local_stages": (True, False, True, False)},
        {"local_stages": (True, True, True, True)},
        {"local_stages": (False, False, False, False), "use_text": False},
        {
            "num_classes": 3,
            "views": ("style", "content"),
            "stage_views": ("style", "style", "content", "style"),
        },
    ],
)
def test_other_shapes_of_the_model_train(tiny: Build, overrides: dict[str, object]) -> None:
    model = tiny(**overrides).train()
    config = model.config
    features = torch.randn(2, len(config.views), config.text_dim) if config.use_text else None
    image = torch.randn(2, 3, config.image_size, config.image_size)
    output = model(image, features, labels=torch.tensor([0, 2]))
    output.loss.backward()
    assert output.visual_tokens.shape == (2, config.num_visual_tokens, 64)
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("size", [(96, 96), (64, 160)])
def test_other_image_sizes_than_the_configured_one_work(tiny: Build, size: tuple[int, int]) -> None:
    output = tiny()(torch.randn(2, 3, *size), torch.randn(2, 4, 32))
    assert output.logits.shape == (2, 7)
    assert output.lra_indices[0].max() < size[0] * size[1] // 16


def test_default_model_fuses_996_tokens() -> None:
    assert MGHFTConfig().num_visual_tokens == 996


def test_without_labels_no_loss_is_computed(tiny: Build, batch: Batch) -> None:
    output = tiny()(batch["image"], batch["text_features"])
    assert (output.loss, output.classification_loss, output.alignment_loss) == (None, None, None)


def test_loss_is_smoothed_classification_plus_weighted_alignment(tiny: Build, batch: Batch) -> None:
    output = tiny(label_smoothing=0.3, alignment_weight=0.25)(**batch)
    log_p = output.logits.log_softmax(dim=1)
    picked = log_p[torch.arange(3), batch["labels"]]
    classification = -(0.7 * picked + 0.3 * log_p.mean(dim=1)).mean()
    torch.testing.assert_close(output.classification_loss, classification)
    torch.testing.assert_close(output.loss, classification + 0.25 * output.alignment_loss)


def test_bfloat16_autocast_stays_near_float32(tiny: Build, batch: Batch) -> None:
    model = MGHFT(MGHFTConfig.preset("tiny")).eval()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(**batch)
    assert rounded.loss.dtype == torch.float32
    torch.testing.assert_close(rounded.loss, model(**batch).loss, rtol=0.05, atol=0.05)


def test_one_step_against_the_gradient_lowers_the_loss(tiny: Build, batch: Batch) -> None:
    model = MGHFT(MGHFTConfig.preset("tiny", drop_path=0.0, fusion_dropout=0.0)).train()
    before = model(**batch).loss
    before.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.01 * parameter.grad
    assert model(**batch).loss < before


def test_saved_model_comes_back_equal(tiny: Build, batch: Batch, tmp_path: Path) -> None:
    model = tiny(num_classes=9)
    model.save_pretrained(tmp_path / "best")
    again = MGHFT.from_pretrained(tmp_path / "best")
    assert again.config == model.config and not again.training
    assert torch.equal(again(**batch).logits, model(**batch).logits)
    files = ["README.md", "config.json", "model.safetensors"]
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == files


def test_folder_without_a_model_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no config\.json: name a folder"):
        MGHFT.from_pretrained(tmp_path)


def test_damaged_model_is_refused_in_one_sentence(tiny: Build, tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path)
    tiny(hidden_dim=24).save_pretrained(tmp_path / "other")
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match="does not hold a usable MGHFT model") as caught:
        MGHFT.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_parameter_count_is_the_published_one() -> None:
    ours = count_parameters(MGHFTConfig(num_classes=7))
    with torch.device("meta"):
        bert = sum(parameter.numel() for parameter in BertModel(BertConfig()).parameters())
    stand_ins, never_read_by_the_release = ours["missing_view_embedding"], 2 * 512 + 1
    total = ours["total"] - stand_ins + never_read_by_the_release + bert
    assert (bert, ours["total"], total) == (109_482_240, 34_701_831, 144_182_024)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_size": 450}, "multiple of 32"),
        ({"image_size": 64}, "alpha 8 is too large"),
        ({"stage_views": ("mood", "style", "content", "details")}, "'mood', which is not in views"),
        ({"views": ("style", "style")}, "a view is duplicated in views"),
        ({"views": ()}, "no stage reads one of the views"),
        ({"views": ("caption",)}, "no stage reads one of the views caption: name them in stage_views"),
        ({"stage_views": (None,) * 4}, "no stage reads one of the views"),
        ({"fusion_stages": (False,) * 4}, "no stage reads one of the views"),
        (
            dict.fromkeys(("alignment", "local_fusion", "global_fusion", "text_guided_attention"), False),
            "leave the text without any effect",
        ),
        ({"view_dropout": 1.0}, "view_dropout"),
        ({"hidden_dim": 770}, "not a multiple of fusion_heads"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_contradictory_configuration_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MGHFTConfig.preset("default", **fields)


def test_unknown_preset_names_the_choices() -> None:
    with pytest.raises(ValueError, match="choose one of default, official, tiny"):
        MGHFTConfig.preset("huge")


def test_features_of_another_encoder_are_refused(tiny: Build, batch: Batch) -> None:
    with pytest.raises(ValueError, match=r"\(3, 4, 48\) where the model reads \(3, 4, 32\)"):
        tiny()(batch["image"], torch.randn(3, 4, 48))


def test_image_of_an_odd_size_is_refused(tiny: Build) -> None:
    with pytest.raises(ValueError, match="image side 70 does not fit"):
        tiny()(torch.randn(1, 3, 70, 70))


def test_text_statistics_are_taken_away_inside_and_saved(tmp_path):
    torch.manual_seed(0)
    model = MGHFT(MGHFTConfig.preset("tiny")).eval()
    config = model.config
    image = torch.randn(2, 3, config.image_size, config.image_size)
    centred = torch.randn(2, len(config.views), config.text_dim)
    expected = model(image, centred).logits
    mean = torch.randn(len(config.views), config.text_dim)
    assert not torch.allclose(model(image, centred * 3 + mean).logits, expected, atol=1e-4)
    model.set_text_statistics(mean, torch.tensor(3.0))
    model.save_pretrained(tmp_path)
    loaded = MGHFT.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded(image, centred * 3 + mean).logits, expected, atol=1e-5, rtol=1e-5)
