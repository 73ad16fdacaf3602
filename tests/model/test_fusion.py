import torch
from torch import Tensor

from mghft.model import MGHFTConfig
from mghft.model.fusion import TextGuidedFusion, global_soft_fusion, local_soft_fusion


def test_local_soft_fusion_equals_the_published_softmax() -> None:
    parts = torch.randn(2, 9, 8, dtype=torch.float64)
    text = torch.randn(2, 8, dtype=torch.float64)
    repeated = text.unsqueeze(1).repeat(1, 9, 1)
    literal = parts + torch.softmax(parts @ repeated.transpose(1, 2), dim=-1) @ repeated
    torch.testing.assert_close(local_soft_fusion(parts, text), literal, rtol=1e-12, atol=1e-12)


def test_global_soft_fusion_weighs_texts_by_unscaled_similarity() -> None:
    tokens, text = torch.randn(2, 4, 8), torch.randn(2, 5, 8)
    for sample in range(2):
        for token in range(4):
            weights = torch.softmax(torch.stack([tokens[sample, token] @ t for t in text[sample]]), dim=0)
            expected = tokens[sample, token] + (weights.unsqueeze(1) * text[sample]).sum(dim=0)
            torch.testing.assert_close(global_soft_fusion(tokens, text)[sample, token], expected)


def _fusion() -> TextGuidedFusion:
    fusion = TextGuidedFusion(MGHFTConfig.preset("tiny", hidden_dim=24, fusion_heads=3)).double().eval()
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return fusion


def _every_token(fusion: TextGuidedFusion, image: Tensor, text: Tensor | None) -> Tensor:
    """The published block: every image token attends, nothing is left out."""

    def heads(x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], 3, 8).transpose(1, 2)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.softmax(q @ k.transpose(-1, -2) / 8**0.5, dim=-1) @ v

    layer = fusion.attention
    h = fusion.attention_norm(image)
    asking = heads(layer.query(h))
    if text is not None:
        asking = attend(asking, heads(layer.key(text)), heads(layer.value(text)))
    heard = attend(asking, heads(layer.key(h)), heads(layer.value(h)))
    x = image + layer.output(heard.transpose(1, 2).flatten(2))
    hidden = torch.nn.functional.gelu(fusion.mlp.fc1(fusion.mlp_norm(x)))
    return x + fusion.mlp.fc2(hidden)


def test_token_0_shortcut_equals_the_block_over_all_tokens() -> None:
    fusion = _fusion()
    image, text = torch.randn(2, 11, 24, dtype=torch.float64), torch.randn(2, 8, 24, dtype=torch.float64)
    expected = _every_token(fusion, image, text)[:, 0]
    torch.testing.assert_close(fusion(image, text), expected, rtol=1e-10, atol=1e-10)


def test_without_text_the_block_is_plain_attention() -> None:
    fusion = _fusion()
    image = torch.randn(2, 11, 24, dtype=torch.float64)
    expected = _every_token(fusion, image, None)[:, 0]
    torch.testing.assert_close(fusion(image, None), expected, rtol=1e-10, atol=1e-10)


def test_token_0_shortcut_has_the_gradients_of_the_block_over_all_tokens() -> None:
    fusion = _fusion()
    image = torch.randn(2, 11, 24, dtype=torch.float64, requires_grad=True)
    text = torch.randn(2, 8, 24, dtype=torch.float64, requires_grad=True)
    wanted = (image, text, *fusion.parameters())
    expected = torch.autograd.grad(_every_token(fusion, image, text)[:, 0].square().sum(), wanted)
    actual = torch.autograd.grad(fusion(image, text).square().sum(), wanted)
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
