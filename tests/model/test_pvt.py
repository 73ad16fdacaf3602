from collections.abc import Callable

import pytest
import torch
from pvt_theirs import BLOCK_NAMES, pvt_config
from torch import Tensor
from transformers import PvtModel

from mghft.model import MGHFT, MGHFTConfig
from mghft.model.pvt import Block, DropPath


def _reference(model: MGHFT, side: int) -> PvtModel:
    """Transformers' PVT with a model's backbone weights, its position embeddings resized beforehand."""
    config = model.config
    shape = pvt_config(config, side, drop_path_rate=0.0, hidden_dropout_prob=0.0)
    reference = PvtModel(shape).eval()
    state: dict[str, Tensor] = {
        f"encoder.layer_norm.{name}": value for name, value in model.token_norm.state_dict().items()
    }
    for index, stage in enumerate(model.backbone.stages):
        grid = side // (4 * 2**index)
        embedding = f"encoder.patch_embeddings.{index}"
        for ours, theirs in (("patch_projection", "projection"), ("patch_norm", "layer_norm")):
            for kind in ("weight", "bias"):
                state[f"{embedding}.{theirs}.{kind}"] = getattr(getattr(stage, ours), kind)
        state[f"{embedding}.position_embeddings"] = stage.positions((grid, grid))
        if index == 3:
            state[f"{embedding}.cls_token"] = stage.class_token
        reference.encoder.patch_embeddings[index].layer_norm.eps = 1e-5
        for number, block in enumerate(stage.blocks):
            prefix = f"encoder.block.{index}.{number}"
            theirs_block = reference.encoder.block[index][number]
            if config.sr_ratios[index] > 1:
                theirs_block.attention.self.layer_norm.eps = 1e-5
            for name, value in block.state_dict().items():
                module, kind = name.rsplit(".", 1)
                if module == "attention.key_value":
                    key, val = value.chunk(2)
                    state[f"{prefix}.attention.self.key.{kind}"] = key
                    state[f"{prefix}.attention.self.value.{kind}"] = val
                else:
                    state[f"{prefix}.{BLOCK_NAMES[module]}.{kind}"] = value
    reference.load_state_dict(state)
    return reference


@pytest.mark.parametrize("side", [224, 96])
def test_backbone_agrees_with_transformers(side: int, randomise: Callable[[torch.nn.Module], None]) -> None:
    config = MGHFTConfig.preset(
        "tiny", local_stages=(False,) * 4, use_text=False, depths=(2, 1, 2, 2), mlp_ratios=(2, 2, 2, 2)
    )
    model = MGHFT(config).eval()
    randomise(model)
    image = torch.randn(2, 3, side, side)
    last = model.backbone(image)[-1]
    assert last.class_token is not None
    ours = model.token_norm(torch.cat([last.class_token.unsqueeze(1), last.patches], dim=1))
    theirs = _reference(model, side)(image).last_hidden_state
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_class_token_of_an_early_stage_shares_the_position_of_patch_0() -> None:
    stage = MGHFT(MGHFTConfig.preset("tiny")).backbone.stages[0]
    resized = stage.positions((16, 16))
    assert torch.equal(resized[:, 0], stage.position_embedding[:, 0])
    assert resized.shape == (1, 1 + 16 * 16, 8)


def test_positions_are_resized_bilinearly() -> None:
    stage = MGHFT(MGHFTConfig.preset("tiny")).backbone.stages[0]
    rows = torch.arange(56.0).repeat_interleave(56)
    stage.position_embedding.data = rows[None, :, None].expand(1, -1, 8).clone()
    halved = stage.positions((28, 28))[0, 1:, 0].view(28, 28)
    assert torch.allclose(halved[:, 5], torch.arange(28.0) * 2 + 0.5)


def test_drop_path_drops_whole_samples_and_scales_the_rest() -> None:
    dropped = DropPath(0.25).train()(torch.zeros(400, 3, 2), torch.ones(400, 3, 2))
    assert dropped.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert torch.equal(dropped, dropped[:, :1, :1].expand_as(dropped))
    assert 0.65 < (dropped[:, 0, 0] > 0).float().mean() < 0.85


def test_drop_path_covers_both_branches_of_a_block() -> None:
    block = Block(width=8, heads=2, mlp_ratio=2, sr_ratio=1, drop_path=1 - 1e-6).train()
    x = torch.randn(4, 9, 8)
    assert torch.equal(block(x, (3, 3))[0], x)


def _masked(block: Block, x: Tensor) -> Tensor:
    """The block as its formulas have it: both branches of all samples, then two masks."""
    for norm, branch in (
        (block.attention_norm, lambda h: block.attention(h, (3, 3))[0]),
        (block.mlp_norm, block.mlp),
    ):
        keep = 1 - block.drop_path.probability
        x = x + branch(norm(x)) * x.new_empty(len(x), 1, 1).bernoulli_(keep) / keep
    return x


@pytest.mark.parametrize(("drop_path", "kept"), [(0.5, 5), (1 - 1e-6, 0), (1e-6, 8)])
def test_skipped_samples_change_neither_sums_nor_gradients(drop_path: float, kept: int) -> None:
    torch.manual_seed(3)
    block = Block(width=8, heads=2, mlp_ratio=2, sr_ratio=1, drop_path=drop_path).double().train()
    x = torch.randn(8, 9, 8, dtype=torch.float64, requires_grad=True)
    computed: list[int] = []
    block.mlp.register_forward_hook(lambda _module, arguments, _out: computed.append(len(arguments[0])))
    results = []
    for run in (_masked, lambda block, x: block(x, (3, 3))[0]):
        torch.manual_seed(1)
        out = run(block, x)
        gradients = torch.autograd.grad(out.square().sum(), [x, *block.parameters()])
        results.append((out, *gradients))
    assert computed == [8, kept]
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def test_drop_path_grows_linearly_over_all_blocks() -> None:
    model = MGHFT(MGHFTConfig(drop_path=0.1))
    rates = [block.drop_path.probability for stage in model.backbone.stages for block in stage.blocks]
    assert rates == pytest.approx(torch.linspace(0, 0.1, 16).tolist())
