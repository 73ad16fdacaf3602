"""Unequal classes: weights, losses and sampling against their formulas, and a small class that is found."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from squares import World, metrics
from torch import Tensor

from mghft.model import MGHFT, MGHFTConfig
from mghft.train.data.sampler import EpochBatches, balanced_order
from mghft.train.evaluation.evaluate import evaluate
from mghft.train.evaluation.trained_runs import EvalConfig
from mghft.train.imbalance import Imbalance
from mghft.train.trainer.loop import Trainer
from mghft.train.trainer.losses import Criterion, class_counts, class_loss, class_weights, focal_loss
from mghft.train.trainer.trainer import train

COUNTS = np.array([60, 30, 10])
LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3]])
TRUE = torch.tensor([0, 2])


def criterion(counts: np.ndarray = COUNTS, smoothing: float = 0.0, **fields: Any) -> Criterion:
    return Criterion(Imbalance(**fields), counts, label_smoothing=smoothing)


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    labels = np.repeat([0, 1, 2], COUNTS)
    weights = class_weights(class_counts(labels, 3), Imbalance(class_weights="balanced"))
    assert weights is not None
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert weights.tolist() == pytest.approx(expected.tolist())
    assert weights.tolist() == pytest.approx([100 / 180, 100 / 90, 100 / 30])


def test_effective_weights_follow_the_formula() -> None:
    weights = class_weights(COUNTS, Imbalance(class_weights="effective", effective_beta=0.9))
    assert weights is not None
    raw = [(1 - 0.9) / (1 - 0.9**n) for n in (60, 30, 10)]
    assert weights.tolist() == pytest.approx([3 * value / sum(raw) for value in raw])


@pytest.mark.parametrize("kind", ["balanced", "effective"])
def test_class_without_stickers_weighs_nothing(kind: str) -> None:
    weights = class_weights(np.array([6, 0, 3]), Imbalance.model_validate({"class_weights": kind}))
    assert weights is not None
    assert weights[1] == 0
    assert torch.isfinite(weights).all()


def test_weighted_loss_is_the_weighted_mean() -> None:
    loss = criterion(class_weights="balanced")(LOGITS, TRUE)
    p = [softmax(LOGITS[0].tolist())[0], softmax(LOGITS[1].tolist())[2]]
    w = [100 / 180, 100 / 30]
    expected = -(w[0] * math.log(p[0]) + w[1] * math.log(p[1])) / sum(w)
    assert float(loss) == pytest.approx(expected)


def test_weighted_loss_is_that_of_pytorch() -> None:
    weights = torch.tensor([100 / 180, 100 / 90, 100 / 30])
    expected = torch.nn.functional.cross_entropy(LOGITS, TRUE, weight=weights, label_smoothing=0.1)
    found = criterion(smoothing=0.1, class_weights="balanced")(LOGITS, TRUE)
    torch.testing.assert_close(found, expected)


CHILD = """
import sys, torch, torch.distributed as dist, numpy as np
from mghft.train.imbalance import Imbalance
from mghft.train.trainer.losses import Criterion
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
logits = torch.tensor([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3], [1.0, 0.0, 0.0], [0.0, 1.0, 3.0]])
labels = torch.tensor([0, 2, 1, 0])
losses = []
for fields in ({"class_weights": "balanced"}, {"class_weights": "balanced", "loss": "focal"}):
    found = Criterion(Imbalance(**fields), np.array([60, 30, 10]), label_smoothing=0)
    mine = found(logits[rank::2], labels[rank::2])
    dist.all_reduce(mine)
    losses.append(float(mine) / 2)
print(losses)
"""


def test_weighted_loss_of_two_processes_is_that_of_one_with_the_whole_batch(tmp_path: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(rank), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        )
        for rank in range(2)
    ]
    found = [json.loads(child.communicate(timeout=120)[0]) for child in children]
    logits = torch.tensor([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3], [1.0, 0.0, 0.0], [0.0, 1.0, 3.0]])
    labels = torch.tensor([0, 2, 1, 0])
    expected = [
        float(criterion(class_weights="balanced")(logits, labels)),
        float(criterion(class_weights="balanced", loss="focal")(logits, labels)),
    ]
    assert found[0] == found[1] == pytest.approx(expected)


def test_focal_loss_follows_the_formula() -> None:
    p = [softmax(LOGITS[0].tolist())[0], softmax(LOGITS[1].tolist())[2]]
    expected = -sum((1 - q) ** 2 * math.log(q) for q in p) / 2
    assert float(criterion(loss="focal")(LOGITS, TRUE)) == pytest.approx(expected)


def test_focal_loss_without_gamma_is_cross_entropy() -> None:
    torch.testing.assert_close(
        focal_loss(LOGITS, TRUE, gamma=0), torch.nn.functional.cross_entropy(LOGITS, TRUE)
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_of_a_certain_sticker_has_a_finite_gradient(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0.0, 0.0], [0.0, 200.0, 0.0]], requires_grad=True)
    focal_loss(logits, torch.tensor([0, 0]), gamma=gamma).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_logit_adjusted_loss_adds_the_log_prior() -> None:
    loss = criterion(loss="logit_adjusted", logit_tau=2)(LOGITS, TRUE)
    prior = [2 * math.log(share) for share in (0.6, 0.3, 0.1)]
    rows = [[a + b for a, b in zip(row, prior, strict=True)] for row in LOGITS.tolist()]
    expected = -(math.log(softmax(rows[0])[0]) + math.log(softmax(rows[1])[2])) / 2
    assert float(loss) == pytest.approx(expected)


def test_logit_adjusted_loss_is_finite_for_a_class_without_stickers() -> None:
    found = criterion(np.array([6, 0, 3]), smoothing=0.1, loss="logit_adjusted")
    assert torch.isfinite(found(LOGITS, TRUE))


def test_label_smoothing_stays_with_weights_and_adjustment() -> None:
    smoothed = criterion(smoothing=0.3, class_weights="balanced")(LOGITS, TRUE)
    weights = torch.tensor([100 / 180, 100 / 90, 100 / 30])
    log_p = LOGITS.log_softmax(1)
    hard = -(weights[TRUE] * log_p[[0, 1], TRUE]).sum()
    uniform = -(weights * log_p).sum() / 3
    torch.testing.assert_close(smoothed, (0.7 * hard + 0.3 * uniform) / weights[TRUE].sum())


def test_model_adds_the_alignment_loss_to_it_with_its_weight() -> None:
    torch.manual_seed(0)
    model = MGHFT(MGHFTConfig.preset("tiny", num_classes=3, alignment_weight=0.5))
    batch = (torch.randn(2, 3, 64, 64), torch.randn(2, 4, 32))
    model.classification_loss = class_loss(Imbalance(loss="focal"), COUNTS, label_smoothing=0)
    found = model(*batch, labels=TRUE)
    torch.testing.assert_close(found.classification_loss, focal_loss(found.logits, TRUE, gamma=2))
    torch.testing.assert_close(found.loss, found.classification_loss + 0.5 * found.alignment_loss)


def test_without_options_the_loss_is_the_models_own() -> None:
    assert class_loss(Imbalance(), COUNTS, label_smoothing=0.2) is None
    assert class_loss(Imbalance(sampling="balanced"), COUNTS, label_smoothing=0.2) is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"class_weights": "balanced", "sampling": "balanced"},
            "class_weights balanced and sampling balanced",
        ),
        ({"loss": "logit_adjusted", "sampling": "balanced"}, "sampling balanced and loss logit_adjusted"),
        ({"loss": "logit_adjusted", "class_weights": "effective"}, "correct for the same thing twice"),
        ({"loss": "focal"}, "label_smoothing is 0.2: set label_smoothing to 0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    world: World, fields: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        world.config("run", imbalance=fields)
    assert "\n" not in str(caught.value)


LABELS_OF = np.repeat([0, 1, 2], [40, 12, 4])


def test_balanced_order_draws_every_class_equally_often() -> None:
    order = balanced_order(LABELS_OF, seed=1, epoch=0, batch=6)
    assert len(order) == 54
    assert Counter(LABELS_OF[order].tolist()) == {0: 18, 1: 18, 2: 18}
    assert all(sorted(LABELS_OF[order[i : i + 3]]) == [0, 1, 2] for i in range(0, 54, 3))
    # A small class is gone through evenly, of a large one no sticker comes twice.
    small = Counter(order[LABELS_OF[order] == 2].tolist())
    assert sorted(small) == [52, 53, 54, 55] and max(small.values()) - min(small.values()) <= 1
    assert max(Counter(order[LABELS_OF[order] == 0].tolist()).values()) == 1


def test_balanced_order_is_a_function_of_seed_and_epoch() -> None:
    order = balanced_order(LABELS_OF, seed=1, epoch=2, batch=6)
    np.random.seed(99)
    assert (order == balanced_order(LABELS_OF, seed=1, epoch=2, batch=6)).all()
    assert (order != balanced_order(LABELS_OF, seed=1, epoch=3, batch=6)).any()
    assert (order != balanced_order(LABELS_OF, seed=2, epoch=2, batch=6)).any()


def test_balanced_order_repeats_stickers_in_a_row() -> None:
    order = balanced_order(LABELS_OF, seed=1, epoch=0, batch=6, repeats=3)
    assert len(order) == 54
    assert (order[0::3] == order[1::3]).all() and (order[0::3] == order[2::3]).all()


def test_processes_share_a_balanced_epoch_and_a_resumed_one_is_its_rest() -> None:
    def batches(rank: int, processes: int, first: int = 0) -> list[list[int]]:
        found = EpochBatches(
            len(LABELS_OF),
            seed=3,
            batch_size=12 // processes,
            repeats=1,
            rank=rank,
            processes=processes,
            labels=LABELS_OF,
        )
        found.start(1, first)
        return [[draw.sticker for draw in batch] for batch in found]

    whole = batches(0, 1)
    first, second = batches(0, 2), batches(1, 2)
    for step, batch in enumerate(whole):
        assert batch == [sticker for pair in zip(first[step], second[step], strict=True) for sticker in pair]
    assert batches(0, 1, first=2) == whole[2:]


def unequal(world: World) -> None:
    """Leaves two of eight 'green' stickers in the training split, eight 'cold' and eight 'warm'."""
    kept, rows = 0, []
    for row in world.rows:
        if row["split"] == "train" and row["label"] == "green":
            kept += 1
            if kept > 2:
                continue
        rows.append(row)
    world.write_table(rows)


def test_small_class_is_found_with_each_of_the_corrections(world: World) -> None:
    """16 stickers against 2: after four epochs the plain loss never says 'green', the corrected ones do."""
    unequal(world)

    def recall(name: str, **imbalance: str) -> float:
        fields: dict[str, Any] = {"use_text": False, "descriptions": None, "label_smoothing": 0}
        run = train(world.config(name, **fields, epochs=4, repeats=1, imbalance=imbalance))
        report = evaluate(EvalConfig(runs=(run,), out=run / "report", splits=("test",), bootstrap_rounds=100))
        metrics = report.splits["test"]["all"]["MGHFT without text"]
        return metrics.per_class["green"].recall

    plain = recall("plain")
    assert plain == 0
    assert recall("weights", class_weights="balanced") > plain
    assert recall("adjusted", loss="logit_adjusted") > plain
    assert recall("sampling", sampling="balanced") > plain


@pytest.mark.parametrize("imbalance", [{"sampling": "balanced"}, {"loss": "logit_adjusted"}])
def test_run_with_an_option_resumes_exactly(
    world: World, imbalance: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    unequal(world)
    undisturbed = train(world.config("undisturbed", imbalance=imbalance))
    config = world.config("stopped", imbalance=imbalance, checkpoint_every_steps=2, resume=True)
    original = Trainer.train_step

    def stop_at_three(self: Trainer, images: Tensor, indices: Tensor) -> dict[str, float]:
        if self.state.step == 3:
            raise RuntimeError("stopped")
        return original(self, images, indices)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", stop_at_three)
        with pytest.raises(RuntimeError, match="stopped"):
            train(config)
    train(config)
    assert metrics(config.out) == metrics(undisturbed)
    best = [(run / "best" / "model.safetensors").read_bytes() for run in (undisturbed, config.out)]
    assert best[0] == best[1]


def test_options_change_the_run(world: World) -> None:
    unequal(world)
    options: list[dict[str, Any]] = [
        {},
        {"imbalance": {"class_weights": "balanced"}},
        {"imbalance": {"loss": "logit_adjusted"}},
        {"imbalance": {"sampling": "balanced"}},
        {"imbalance": {"loss": "focal"}, "label_smoothing": 0},
    ]
    losses = set()
    for number, option in enumerate(options):
        run = train(world.config(f"run{number}", epochs=1, warmup_epochs=0, **option))
        losses.add(metrics(run)[-1]["classification_loss"])
    assert len(losses) == len(options)
