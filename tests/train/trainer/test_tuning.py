"""The text encoder trained along: it learns, is kept with the run, resumes exactly and is what eval reads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from squares import LABELS, World, metrics

from mghft.model import MGHFT, MGHFTConfig, TextEncoder
from mghft.model.joint import TunedMGHFT
from mghft.train.data.splits import load_splits, open_corpus, resolve_model, views_of
from mghft.train.data.text_features import load_encoder
from mghft.train.evaluation import predict
from mghft.train.evaluation.evaluate import evaluate
from mghft.train.evaluation.predict import to_predict
from mghft.train.evaluation.trained_runs import EvalConfig
from mghft.train.runs.checkpoints import checkpoint_paths
from mghft.train.trainer.loop import Trainer
from mghft.train.trainer.trainer import train
from mghft.train.trainer.warm_start import load_initial

NAMES = ("model.safetensors", "text_encoder/model.safetensors")
TUNED = {"tune_text_encoder": True, "standardize_text": True}


def content(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in NAMES]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    world = World(tmp_path_factory.mktemp("tuned"))
    return world, train(world.config("tuned", **TUNED))


def test_encoder_learns_and_lies_beside_the_model(tuned: tuple[World, Path]) -> None:
    world, run = tuned
    before = TextEncoder.from_pretrained(world.encoder).model.state_dict()
    after = TextEncoder.from_pretrained(run / "best" / "text_encoder").model.state_dict()
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert "encoder.layer.0.attention.self.query.weight" in moved
    assert "embeddings.word_embeddings.weight" in moved
    assert isinstance(MGHFT.from_pretrained(run / "best"), MGHFT)


def test_cache_of_features_is_left_alone(tuned: tuple[World, Path]) -> None:
    world, _ = tuned
    assert not list((world.folder / "cache").glob("text-*"))


def test_texts_become_the_encoders_features_with_gradients(world: World) -> None:
    config = world.config("run", **TUNED)
    torch.manual_seed(0)
    trainer_model = MGHFT(_model_config(world)).eval()
    encoder = TextEncoder.from_pretrained(config.text_encoder)
    model = TunedMGHFT(trainer_model, encoder).eval()
    texts = [("content is warm", "", "intention is warm", "content is warm")] * 3
    mask = torch.tensor([[True, False, True, True]] * 3)
    images, labels = torch.randn(3, 3, 32, 32), torch.tensor([0, 1, 2])
    output = model(images, texts, mask, labels)
    assert output.loss is not None
    output.loss.backward()
    frozen = encoder.encode([text or "is" for row in texts for text in row]).reshape(3, 4, -1)
    expected = trainer_model(images, text_features=frozen, text_mask=mask, labels=labels)
    torch.testing.assert_close(output.logits, expected.logits)
    gradient = model.language.get_parameter("encoder.layer.3.output.dense.weight").grad
    assert gradient is not None and gradient.abs().max() > 0


def test_validation_reads_the_encoder_without_dropout(world: World) -> None:
    config = world.config("run", tune_text_encoder=True)
    encoder = TextEncoder.from_pretrained(config.text_encoder)
    model = TunedMGHFT(MGHFT(_model_config(world)), encoder).train()
    split = load_splits(
        open_corpus(config.sources),
        ["validation"],
        config.sources,
        config.cache,
        text=config.text,
        views=views_of(config.model),
        image_size=model.mghft.config.image_size,
        encoder=None,
    )["validation"]
    first, again = (to_predict(model, split)[1].features for _ in range(2))
    assert first is not None and again is not None
    assert torch.equal(first, again)
    assert model.language.training


def _model_config(world: World) -> MGHFTConfig:
    return resolve_model(world.config("run").model_options, labels=("cold", "warm", "green"), text_dim=16)


def test_encoder_has_its_own_learning_rate(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    config = world.config("run", **TUNED, text_lr_scale=0.25, warmup_epochs=0)
    rates: list[dict[str, float]] = []
    original = Trainer.train_step

    def train_step(self: Trainer, images: object, indices: object) -> dict[str, float]:
        losses = original(self, images, indices)  # type: ignore[arg-type]
        language = {id(p) for p in self.weights.full_model().language.parameters()}  # type: ignore[union-attr]
        groups = self.optimizer.param_groups
        rates.append(
            {
                "text" if any(id(p) in language for p in group["params"]) else "rest": group["lr"]
                for group in groups
            }
        )
        return losses

    monkeypatch.setattr(Trainer, "train_step", train_step)
    train(config)
    assert rates[0] == {"rest": 2e-3, "text": 0.25 * 2e-3}
    assert all(rate["text"] == 0.25 * rate["rest"] for rate in rates)


def test_stopped_run_resumes_to_the_same_encoder(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    same = {**TUNED, "checkpoint_every_steps": 2, "ema_decay": 0.9}
    undisturbed = train(world.config("undisturbed", **same))
    config = world.config("stopped", **same, resume=True)
    original = Trainer.train_step

    def stop_at_seven(self: Trainer, images: object, indices: object) -> dict[str, float]:
        if self.state.step == 7:
            raise RuntimeError("stopped")
        return original(self, images, indices)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", stop_at_seven)
        with pytest.raises(RuntimeError, match="stopped"):
            train(config)
    train(config)
    last = [checkpoint_paths(run)[-1] for run in (undisturbed, config.out)]
    assert content(last[0]) == content(last[1])
    assert content(last[0] / "ema") == content(last[1] / "ema")
    assert content(undisturbed / "best") == content(config.out / "best")
    assert metrics(undisturbed) == metrics(config.out)
    assert content(last[0]) != content(last[0] / "ema")


def test_resumed_run_takes_the_statistics_of_its_checkpoint(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every text of the training split would be encoded for them, and thrown away."""
    encoded: list[int] = []
    original = predict.features_of

    def counted(encoder: Any, texts: Any, **options: Any) -> Any:
        encoded.append(len(texts))
        return original(encoder, texts, **options)

    monkeypatch.setattr(predict, "features_of", counted)
    config = world.config("run", **TUNED, resume=True)
    run = train(config)
    assert encoded == [24, 9, 9]
    encoded.clear()
    (run / "summary.json").unlink()
    before = content(run / "best")
    train(config)
    assert (encoded, content(run / "best")) == ([], before)
    longer = config.model_copy(update={"epochs": 3, "allow_changes": ("epochs",)})
    train(longer)
    assert encoded == [9]
    mean = load_file(checkpoint_paths(run)[-1] / "model.safetensors")["text_mean"]
    assert torch.equal(mean, load_file(run / "best" / "model.safetensors")["text_mean"])
    assert mean.abs().max() > 0


def test_evaluation_reads_the_tuned_encoder(tuned: tuple[World, Path]) -> None:
    world, run = tuned
    kept = max((line for line in metrics(run) if line["best"]), key=lambda line: line["epoch"])

    def probabilities(name: str, run: Path) -> dict[str, list[float]]:
        config = EvalConfig(runs=(run,), out=world.folder / name, bootstrap_rounds=100)
        report = evaluate(config)
        rows = pq.read_table(config.out / "predictions.parquet").to_pylist()
        if name == "report":
            judged = report.splits["validation"]["all"]["MGHFT"]
            assert judged.accuracy == kept["validation_accuracy"]
        systems = {row["system"] for row in rows}
        return {
            system: [max(row["probabilities"].values()) for row in rows if row["system"] == system]
            for system in systems
        }

    right = probabilities("report", run)
    other = world.folder / "other" / run.name
    shutil.copytree(run, other, ignore=shutil.ignore_patterns("text_encoder"))
    shutil.copytree(world.encoder, other / "best" / "text_encoder")
    original = probabilities("original", other)
    assert original["MGHFT"] != right["MGHFT"]
    # The text-only baseline reads the encoder that has not seen the labels.
    assert original["text only"] == right["text only"]


def test_tuning_without_text_is_refused(world: World) -> None:
    with pytest.raises(ValueError, match="tune_text_encoder: a run without text has no encoder"):
        world.config("run", tune_text_encoder=True, use_text=False)


def test_weights_on_disk_are_float32_under_clean_names(tuned: tuple[World, Path]) -> None:
    _, run = tuned
    for name in NAMES:
        tensors = load_file(run / "best" / name)
        assert {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()} == {torch.float32}
        assert not any(key.startswith(("mghft.", "language.", "module.")) for key in tensors)


def test_new_run_begins_with_the_encoder_that_was_trained_along(tuned: tuple[World, Path]) -> None:
    world, run = tuned
    encoder = run / "best" / "text_encoder"
    model = MGHFT.from_pretrained(run / "best")
    assert load_initial(model, str(run), LABELS, str(world.encoder)).endswith(
        f"its text encoder was trained along, take it too by --set text_encoder={encoder}"
    )
    assert load_initial(model, str(run), LABELS, str(encoder)).endswith("nothing was left out")
    still = {"lr": 1e-12, "warmup_lr": 0.0, "min_lr": 0.0, "epochs": 1, "warmup_epochs": 0}
    again = train(
        world.config(
            "again",
            **still,
            init_from=str(run),
            text_encoder=str(encoder),
            cache_dir=world.folder / "other-cache",
        )
    )
    best = next(line for line in reversed(metrics(run)) if line["best"])
    assert metrics(again)[0]["validation_loss"] == pytest.approx(best["validation_loss"], rel=1e-5)


def test_frozen_encoder_draws_its_dropout_for_every_text_and_stays(world: World) -> None:
    run = train(world.config("run", tune_text_encoder=True, text_lr_scale=0, epochs=1, warmup_epochs=0.5))
    saved = load_file(run / "best" / "text_encoder" / "model.safetensors")
    for name, value in load_file(world.encoder / "model.safetensors").items():
        torch.testing.assert_close(saved[name], value, rtol=0, atol=0)
    encoder = load_encoder(str(world.encoder), "last4_masked_mean", torch.device("cpu"))
    model = TunedMGHFT(MGHFT(_model_config(world)), encoder, frozen=True)
    texts = [("style is warm", "style is warm", "", "details is cold")]
    torch.manual_seed(0)
    features = model.train().text_features(texts, torch.device("cpu"))
    assert not features.requires_grad and features[0, 2].eq(0).all()
    # As in the released training: the same text twice differs by its dropout alone.
    assert 0.01 < (features[0, 0] - features[0, 1]).norm() / features[0, 0].norm() < 1
    still = model.eval().text_features(texts, torch.device("cpu"))
    torch.testing.assert_close(still[0, 0], still[0, 1])
    torch.testing.assert_close(still[0, 3], encoder.vectors(["details is cold"])[0])
