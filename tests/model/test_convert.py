import argparse
import collections
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from released_choice import released_choice
from released_layout import released_state
from safetensors.torch import load_file, save_file
from torch import Tensor

from mghft.model import MGHFT, MGHFTConfig, TextEncoder, load_official_checkpoint, load_pvt_weights
from mghft.model.convert import convert_checkpoint, convert_official
from mghft.model.convert_text_encoder import save_text_encoder
from mghft.model.text_encoder import pool

FOLDERS = Path(__file__).parents[1] / "golden"
GOLDEN = FOLDERS / "a" / "official_state_dict.safetensors"
EARLY_CLASS_TOKENS = {f"backbone.stages.{stage}.class_token" for stage in range(3)}


@pytest.fixture
def released() -> dict[str, Tensor]:
    return load_file(GOLDEN)


@pytest.fixture
def model() -> MGHFT:
    return MGHFT(MGHFTConfig.preset("tiny", depths=(3, 4, 6, 3)))


@pytest.fixture
def pvt(released: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict as PVT's own ImageNet files have it."""
    own = (
        "cls_token1",
        "cls_token2",
        "cls_token3",
        "cross_proj",
        "local_proj",
        "global_proj",
        "norm_t",
        "tau",
    )
    prefix = "vision_model."
    names = [name for name in released if name.startswith(prefix) and not name[len(prefix) :].startswith(own)]
    return {name[len(prefix) :]: released[name] for name in names} | {
        "head.weight": torch.zeros(1000, 64),
        "head.bias": torch.zeros(1000),
    }


def test_whole_training_checkpoint_is_read(released: dict[str, Tensor], model: MGHFT, tmp_path: Path) -> None:
    content = {
        "model": released,
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3}]},
        "lr_scheduler": {"base_values": [1e-3]},
        "epoch": 49,
        "scaler": {"scale": 65536.0},
        "args": argparse.Namespace(batch_size=16, data_path="data", lr=1e-3),
    }
    torch.save(content, tmp_path / "checkpoint.pth")
    load_official_checkpoint(model, tmp_path / "checkpoint.pth")
    assert torch.equal(model.head.weight, released["head.weight"])


def test_every_released_parameter_has_a_place(released: dict[str, Tensor], model: MGHFT) -> None:
    ours, encoder = convert_official(released)
    assert set(ours) == set(model.state_dict()) - {"missing_view_embedding", "text_mean", "text_scale"}
    assert len(ours) + len(encoder) == len(released) - 3


def test_checkpoint_of_other_dimensions_is_refused(released: dict[str, Tensor]) -> None:
    other = MGHFT(MGHFTConfig.preset("tiny", depths=(3, 4, 6, 3), num_classes=10))
    with pytest.raises(ValueError, match=r"does not fit this configuration at parameter 'head\."):
        load_official_checkpoint(other, GOLDEN)


def test_foreign_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'layer1\.conv\.weight' is not one of MGHFT's"):
        convert_official({"layer1.conv.weight": torch.zeros(1)})


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_imagenet_weights_fill_the_backbone_but_for_the_early_class_tokens(
    pvt: dict[str, Tensor], model: MGHFT, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"pvt_small{suffix}"
    (torch.save if suffix == ".pth" else save_file)(pvt, path)
    head = model.head.weight.clone()
    assert set(load_pvt_weights(model, path)) == EARLY_CLASS_TOKENS
    state = model.state_dict()
    assert torch.equal(state["backbone.stages.2.blocks.5.mlp.fc2.weight"], pvt["block3.5.mlp.fc2.weight"])
    assert torch.equal(state["token_norm.weight"], pvt["norm.weight"])
    assert torch.equal(model.head.weight, head)


def test_weights_of_another_pvt_are_refused(pvt: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(pvt, tmp_path / "pvt.safetensors")
    with pytest.raises(ValueError, match="choose the PVT size that matches"):
        load_pvt_weights(MGHFT(MGHFTConfig.preset("tiny")), tmp_path / "pvt.safetensors")


def _wrapped(tensors: dict[str, Tensor], path: Path, **options: Any) -> Path:
    torch.save({"model": tensors, "epoch": 49, "args": argparse.Namespace(**options)}, path)
    return path


@pytest.mark.parametrize("name", ["a", "b"])
def test_converted_checkpoint_gives_the_released_logits(name: str, tmp_path: Path) -> None:
    released = load_file(FOLDERS / name / "official_state_dict.safetensors")
    case = load_file(FOLDERS / name / "case.safetensors")
    side = case["image"].shape[-1]
    result = convert_checkpoint(_wrapped(released, tmp_path / "checkpoint.pth", input_size=side))
    result.model.save_pretrained(tmp_path / "out")
    model = MGHFT.from_pretrained(tmp_path / "out")
    assert model.config.image_size == side and model.config.alpha == {"a": 1, "b": 2}[name]
    save_text_encoder(result.text_encoder, tmp_path / "bert", heads=4)
    bert = transformers.BertModel.from_pretrained(tmp_path / "bert").eval()
    ids, mask = case["input_ids"].flatten(0, 1), case["attention_mask"].flatten(0, 1)
    with torch.no_grad(), released_choice(case):
        states = bert(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        in_stage_order = pool(states, mask, "last4_mean").unflatten(0, (-1, 4))
        places = [model.config.stage_views.index(view) for view in model.config.views]
        output = model(case["image"], in_stage_order[:, places])
    torch.testing.assert_close(output.logits, case["logits"], atol=1e-4, rtol=1e-4)


def test_conversion_accounts_for_every_tensor(released: dict[str, Tensor]) -> None:
    result = convert_checkpoint(GOLDEN)
    assert result.missing == ["missing_view_embedding", "text_mean", "text_scale"]
    assert result.left_over == ["vision_model.norm_t.bias", "vision_model.norm_t.weight", "vision_model.tau"]
    encoder = [f"text_model.{name}" for name in result.text_encoder]
    assert sorted([*result.used, *result.left_over, *encoder]) == sorted(released)


def test_conversion_is_the_same_every_time() -> None:
    first, again = (convert_checkpoint(GOLDEN).model.state_dict() for _ in range(2))
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())


def test_layout_by_hand_is_that_of_the_released_code(released: dict[str, Tensor]) -> None:
    own = {name: tensor.shape for name, tensor in released_state((1, 1, 1, 0)).items()}
    assert own == {name: t.shape for name, t in released.items() if not name.startswith("text_model.")}


@pytest.mark.parametrize("locals_", list(itertools.product((0, 1), repeat=4)))
def test_every_pattern_of_local_stages_converts(locals_: tuple[int, ...], tmp_path: Path) -> None:
    state = released_state(locals_, alpha=3)
    result = convert_checkpoint(_wrapped(state, tmp_path / "weights.pth", input_size=96))
    found = result.model.config
    assert found.local_flags == "".join(map(str, locals_)) and found.alpha == 3 and found.image_size == 96
    unread = [f"vision_model.cross_proj{s + 1}." for s in range(3) if not locals_[s]]
    known = ("vision_model.norm_t.", "vision_model.tau", *unread)
    assert set(result.left_over) == {name for name in state if name.startswith(known)}
    assert set(result.used) == set(state) - set(result.left_over)
    assert result.missing == ["missing_view_embedding", "text_mean", "text_scale"]
    weights = result.model.state_dict()
    assert torch.equal(weights["stage_text_projections.3.2.bias"], state["vision_model.cross_proj4.2.bias"])
    with torch.no_grad():
        logits = result.model(torch.randn(2, 3, 96, 96), torch.randn(2, 4, 32)).logits
    assert logits.shape == (2, 7) and bool(logits.isfinite().all())


@pytest.mark.parametrize("locals_", [(1, 0, 1, 0), (1, 1, 0, 0), (0, 0, 1, 0)])
def test_text_projection_that_the_released_code_reads_must_be_there(
    locals_: tuple[int, ...], tmp_path: Path
) -> None:
    state = released_state(locals_)
    del state["vision_model.cross_proj4.0.weight"]
    with pytest.raises(ValueError, match=r"does not fit .*'stage_text_projections\.3\.0\.weight'"):
        convert_checkpoint(_wrapped(state, tmp_path / "weights.pth"))


@pytest.mark.parametrize(
    ("size", "depths"),
    [("tiny", (2, 2, 2, 2)), ("small", (3, 4, 6, 3)), ("medium", (3, 4, 18, 3)), ("large", (3, 8, 27, 3))],
)
def test_size_of_pvt_is_read_off_its_weights(size: str, depths: tuple[int, ...], tmp_path: Path) -> None:
    save_file(_imagenet(depths, (64, 128, 320, 512), positions=True), tmp_path / "pvt.safetensors")
    with pytest.raises(ValueError, match=rf"has depths .*, not \(1, 1, 1, 1\) \(it is PVT-{size}\)"):
        convert_checkpoint(tmp_path / "pvt.safetensors", depths=(1, 1, 1, 1))


def _imagenet(depths: tuple[int, ...], widths: tuple[int, ...], *, positions: bool) -> dict[str, Tensor]:
    """The few parameters that tell PVT's size."""
    state = {}
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True), start=1):
        state[f"patch_embed{stage}.proj.weight"] = torch.zeros(width, 3, 1, 1)
        for block in range(depth):
            state[f"block{stage}.{block}.norm1.weight"] = torch.zeros(width)
        state[f"block{stage}.0.mlp.fc1.weight"] = torch.zeros(width * 4, 1)
    return state


def test_pvt_of_another_size_is_refused_by_name(tmp_path: Path) -> None:
    state = _imagenet((3, 4, 18, 3), (64, 128, 320, 512), positions=False)
    save_file(state, tmp_path / "pvt_medium.safetensors")
    with torch.device("meta"):
        small = MGHFT(MGHFTConfig())
    with pytest.raises(ValueError, match="holds PVT-medium where the model has PVT-small: choose"):
        load_pvt_weights(small, tmp_path / "pvt_medium.safetensors")


def test_pvt_becomes_a_model_whose_other_parts_are_new(pvt: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(pvt, tmp_path / "pvt.pth")
    options = {"image_size": 64, "alpha": 1, "hidden_dim": 48, "num_classes": 5}
    first, again = (convert_checkpoint(tmp_path / "pvt.pth", **options) for _ in range(2))
    assert first.left_over == ["head.weight", "head.bias"]
    assert {"backbone.stages.0.class_token", "head.weight", "missing_view_embedding"} <= set(first.missing)
    assert len(first.missing) + len(first.used) == len(first.model.state_dict())
    assert first.model.config.last_stage_text_token == "own" and first.model.config.num_classes == 5
    assert torch.equal(first.model.head.weight, again.model.head.weight)


@pytest.mark.parametrize(
    "name", ["block3.5.mlp.fc2.weight", "pos_embed1", "norm.bias", "cls_token", "block1.2.attn.sr.bias"]
)
def test_pvt_that_lacks_a_tensor_is_refused(
    pvt: dict[str, Tensor], model: MGHFT, name: str, tmp_path: Path
) -> None:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    del pvt[name]
    torch.save(pvt, tmp_path / "pvt.pth")
    message = r"lacks 1 of the backbone's \d+ tensors .*: pass a whole PVT v1 ImageNet file"
    with pytest.raises(ValueError, match=message):
        load_pvt_weights(model, tmp_path / "pvt.pth")
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(tmp_path / "pvt.pth", image_size=64, alpha=1, hidden_dim=48)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.fixture
def transformers_pvt() -> transformers.PvtForImageClassification:
    config = transformers.PvtConfig(
        depths=[1, 2, 2, 1], hidden_sizes=[8, 16, 40, 64], num_labels=11, layer_norm_eps=1e-5
    )
    model = transformers.PvtForImageClassification(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def test_pvt_of_transformers_computes_the_same_here(
    transformers_pvt: transformers.PvtForImageClassification, tmp_path: Path
) -> None:
    transformers_pvt.save_pretrained(tmp_path / "pvt")
    config = MGHFTConfig.preset("tiny", local_stages=(False,) * 4, use_text=False)
    model = MGHFT(config).eval()
    assert load_pvt_weights(model, tmp_path / "pvt") == []
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-5
    image = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        expected = transformers_pvt.pvt(image).last_hidden_state[:, 0]
        actual = model.token_norm(model.backbone(image)[3].class_token)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("form", ["classifier.safetensors", "backbone.safetensors", "folder", "folder.bin"])
def test_pvt_of_transformers_is_read_in_every_form(
    transformers_pvt: transformers.PvtForImageClassification, form: str, tmp_path: Path
) -> None:
    source = tmp_path / form
    whole = transformers_pvt.pvt if form == "backbone.safetensors" else transformers_pvt
    if form == "folder":
        transformers_pvt.save_pretrained(source)
    elif form == "folder.bin":
        source.mkdir()
        torch.save(collections.OrderedDict(whole.state_dict()), source / "pytorch_model.bin")
    else:
        save_file(whole.state_dict(), source)
    result = convert_checkpoint(source, image_size=64, alpha=1, hidden_dim=48)
    block = transformers_pvt.pvt.encoder.block[1][1].attention
    kept = block.self
    ours = result.model.backbone.stages[1].blocks[1].attention.key_value.weight
    assert torch.equal(ours, torch.cat([kept.key.weight, kept.value.weight]))
    heads = ["classifier.weight", "classifier.bias"]
    assert sorted(result.left_over) == ([] if form == "backbone.safetensors" else sorted(heads))
    assert len(result.used) == len(whole.state_dict()) - len(result.left_over)


def test_hub_id_falls_back_to_the_older_file(
    transformers_pvt: transformers.PvtForImageClassification, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    torch.save(transformers_pvt.state_dict(), tmp_path / "pytorch_model.bin")
    asked = []

    def download(repo: str, name: str, **_: object) -> str:
        asked.append((repo, name))
        if name != "pytorch_model.bin":
            raise LocalEntryNotFoundError("not there")
        return str(tmp_path / name)

    monkeypatch.setattr("mghft.model.checkpoint_files.hf_hub_download", download)
    model = MGHFT(MGHFTConfig.preset("tiny"))
    assert set(load_pvt_weights(model, "someone/pvt-small-224")) == EARLY_CLASS_TOKENS
    names = ["model.safetensors", "pytorch_model.bin"]
    assert asked == [("someone/pvt-small-224", name) for name in names]


def test_resnet_is_refused_in_one_sentence(tmp_path: Path) -> None:
    names = ("conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight", "fc.weight")
    torch.save({name: torch.zeros(2) for name in names}, tmp_path / "resnet.pth")
    with pytest.raises(ValueError, match=r"no weights of MGHFT or PVT \(its first parameters are conv1"):
        convert_checkpoint(tmp_path / "resnet.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("head.weight"), "lacks 'head.weight'"),
        (lambda state: state.pop("vision_model.block3.5.mlp.fc2.weight"), "does not fit .*blocks.5.mlp.fc2"),
        (lambda state: state.update({"pos_embed": torch.zeros(1, 130, 48)}), "130 tokens fits no alpha"),
        (lambda state: state.update({"head.bias": torch.full((7,), torch.nan)}), "NaN or infinity in 'head"),
        (lambda state: state.update({"extra.weight": torch.zeros(1)}), "'extra.weight' is not one of MGHFT"),
        (
            lambda state: state.update({"vision_model.patch_embed1.proj.weight": torch.zeros(8)}),
            "does not fit",
        ),
    ],
)
def test_checkpoint_that_is_not_whole_is_refused(
    released: dict[str, Tensor], change: Callable[[dict[str, Tensor]], object], message: str, tmp_path: Path
) -> None:
    change(released)
    save_file(released, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=message) as caught:
        convert_checkpoint(tmp_path / "weights.safetensors")
    assert "\n" not in str(caught.value)


def test_wish_that_contradicts_the_file_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has num_classes 7, not 10 .*: leave the option out"):
        convert_checkpoint(GOLDEN, num_classes=10)


def test_model_of_ours_needs_no_conversion(model: MGHFT, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="MGHFT's names already: load its folder"):
        convert_checkpoint(tmp_path)


def test_written_text_encoder_works_with_a_tokenizer(tmp_path: Path) -> None:
    tensors = convert_checkpoint(GOLDEN).text_encoder
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "smile"]
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "words")
    assert save_text_encoder(tensors, tmp_path / "bert", heads=4, tokenizer=tmp_path / "words") == []
    encoder = TextEncoder.from_pretrained(tmp_path / "bert")
    assert encoder.encode(["cat smile"]).shape == (1, 32)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_tokenizer_of_more_words_than_the_encoder_is_refused(tmp_path: Path) -> None:
    tensors = convert_checkpoint(GOLDEN).text_encoder
    with pytest.raises(ValueError, match="30522 word pieces where the encoder has 120"):
        save_text_encoder(tensors, tmp_path / "bert", heads=4, tokenizer="minilm")
    assert not (tmp_path / "bert").exists()


def test_encoder_that_is_no_bert_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no BERT as text encoder"):
        save_text_encoder({"lstm.weight": torch.zeros(2)}, tmp_path / "bert")
