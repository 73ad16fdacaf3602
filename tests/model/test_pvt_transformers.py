"""Our PVT against the one of transformers on the same weights.

Two settings of transformers differ from PVT's own code, and are set right here: its patch and reduction norms
have the epsilon of the blocks (1e-6 where PVT has 1e-5), and it takes no image of another size than its
configuration names, so ours at another size is compared with theirs built for that size, whose position
embeddings are our 224 px ones resized by `Stage.positions` (resizing itself is judged in slow_reference.py).
"""

from __future__ import annotations

import pytest
import torch
from pvt_theirs import BLOCK_NAMES, pvt_config
from torch import Tensor
from transformers import PvtForImageClassification

from mghft.model import MGHFT, MGHFTConfig

TINY, SMALL, LARGE = (2, 2, 2, 2), (3, 4, 6, 3), (3, 8, 27, 3)


def _ours(**fields: object) -> MGHFT:
    shape = {"local_stages": (False,) * 4, "use_text": False, "embed_dims": (8, 16, 40, 64), **fields}
    model = MGHFT(MGHFTConfig.preset("tiny", **shape)).eval().double()
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=0.2)
        if name.endswith("norm.weight"):
            parameter.data += 1.0
    return model


def _theirs(model: MGHFT, side: int, classifier: torch.nn.Linear) -> PvtForImageClassification:
    config = model.config
    shape = pvt_config(config, side, num_labels=classifier.out_features)
    theirs = PvtForImageClassification(shape)
    state: dict[str, Tensor] = {
        "classifier.weight": classifier.weight,
        "classifier.bias": classifier.bias,
        "pvt.encoder.layer_norm.weight": model.token_norm.weight,
        "pvt.encoder.layer_norm.bias": model.token_norm.bias,
    }
    for index, stage in enumerate(model.backbone.stages):
        grid = side // (4 * 2**index)
        embedding = f"pvt.encoder.patch_embeddings.{index}"
        for kind in ("weight", "bias"):
            state[f"{embedding}.projection.{kind}"] = getattr(stage.patch_projection, kind)
            state[f"{embedding}.layer_norm.{kind}"] = getattr(stage.patch_norm, kind)
        state[f"{embedding}.position_embeddings"] = stage.positions((grid, grid))
        if index == 3:
            state[f"{embedding}.cls_token"] = stage.class_token
        for number, block in enumerate(stage.blocks):
            prefix = f"pvt.encoder.block.{index}.{number}"
            for name, value in block.state_dict().items():
                module, kind = name.rsplit(".", 1)
                if module == "attention.key_value":
                    key, val = value.chunk(2)
                    state[f"{prefix}.attention.self.key.{kind}"] = key
                    state[f"{prefix}.attention.self.value.{kind}"] = val
                else:
                    state[f"{prefix}.{BLOCK_NAMES[module]}.{kind}"] = value
    theirs.eval().double().load_state_dict(state)
    for name, module in theirs.named_modules():
        if name.endswith(
            ("attention.self.layer_norm", *(f"patch_embeddings.{i}.layer_norm" for i in range(4)))
        ):
            module.eps = 1e-5
    return theirs


@pytest.mark.parametrize(
    ("fields", "side"),
    [
        ({"depths": SMALL}, 224),
        ({"depths": TINY}, 224),
        ({"depths": LARGE}, 64),
        ({"depths": SMALL}, 96),
        ({"depths": TINY}, 320),
        ({"depths": TINY, "sr_ratios": (4, 2, 1, 1)}, 128),
    ],
)
def test_every_stage_and_the_classification_agree(fields: dict[str, object], side: int) -> None:
    model = _ours(**fields)
    classifier = torch.nn.Linear(64, 11).double()
    image = torch.randn(2, 3, side, side, dtype=torch.float64)
    stages = model.backbone(image)
    theirs = _theirs(model, side, classifier)(image, output_hidden_states=True)
    ends = torch.tensor(model.config.depths).cumsum(0) - 1
    for stage, end in zip(stages, ends.tolist(), strict=True):
        tokens = stage.patches
        if stage.class_token is not None:
            tokens = torch.cat([stage.class_token.unsqueeze(1), tokens], dim=1)
        torch.testing.assert_close(tokens, theirs.hidden_states[end], rtol=1e-9, atol=1e-9)
    last = stages[3].class_token
    assert last is not None
    torch.testing.assert_close(classifier(model.token_norm(last)), theirs.logits, rtol=1e-9, atol=1e-9)


def test_gradient_of_the_image_agrees() -> None:
    model = _ours(depths=SMALL)
    theirs = _theirs(model, 64, torch.nn.Linear(64, 11).double())
    image = torch.randn(2, 3, 64, 64, dtype=torch.float64, requires_grad=True)
    last = model.backbone(image)[3].class_token
    assert last is not None
    (ours,) = torch.autograd.grad(theirs.classifier(model.token_norm(last)).square().sum(), image)
    (expected,) = torch.autograd.grad(theirs(image).logits.square().sum(), image)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_position_embeddings_of_224_px_are_used_as_they_are() -> None:
    model = _ours()
    for index, stage in enumerate(model.backbone.stages):
        grid = 224 // (4 * 2**index)
        assert torch.equal(stage.positions((grid, grid)), stage.position_embedding)


def test_backbone_alone_has_no_class_tokens_before_the_last_stage() -> None:
    outputs = _ours().backbone(torch.randn(1, 3, 64, 64, dtype=torch.float64))
    assert [output.class_token is None for output in outputs] == [True, True, True, False]
