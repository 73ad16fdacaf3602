import torch

from mghft.model.alignment import alignment_loss


def test_loss_equals_the_published_formula() -> None:
    image = torch.randn(5, 8, dtype=torch.float64)
    text = torch.randn(5, 8, dtype=torch.float64)
    v = image / image.norm(dim=1, keepdim=True)
    t = text / text.norm(dim=1, keepdim=True)
    contrastive = 0.0
    for rows in (torch.exp(v @ t.T / 0.07), torch.exp(t @ v.T / 0.07)):
        contrastive -= sum(torch.log(rows[i, i] / rows[i].sum()) for i in range(5)) / 5 / 2
    w_image = torch.softmax((1 + v @ v.T) / 2, dim=0).T
    w_text = torch.softmax((1 + t @ t.T) / 2, dim=0).T
    divergence = (w_text * (w_text.log() - w_image.log())).sum()
    actual = alignment_loss(image, text, temperature=0.07, divergence_weight=30.0)
    torch.testing.assert_close(actual, contrastive + 30.0 * divergence)


def test_empty_batch_costs_nothing() -> None:
    empty = torch.zeros(0, 8, requires_grad=True)
    loss = alignment_loss(empty, torch.zeros(0, 8), temperature=0.07, divergence_weight=30.0)
    loss.backward()
    assert loss.item() == 0.0


def test_autocast_does_not_round_the_loss() -> None:
    image, text = torch.randn(5, 8), torch.randn(5, 8)
    expected = alignment_loss(image, text, temperature=0.07, divergence_weight=30.0)
    with torch.autocast("cpu", torch.bfloat16):
        actual = alignment_loss(image, text, temperature=0.07, divergence_weight=30.0)
    assert torch.equal(actual, expected)
