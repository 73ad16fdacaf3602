"""Stickers meet their descriptions by id; text features are kept, checked and made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from squares import World
from torch import Tensor

from mghft.model import TextEncoder
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.runs.shards import write_shard
from mghft.pipeline.views import VIEWS
from mghft.train.data.descriptions import read_texts
from mghft.train.data.text_features import FeatureCache, features_of, text_statistics
from mghft.train.trainer.trainer import train

TEXTS = [("a", "b"), ("b", ""), ("c", "a")]


class CountingEncoder:
    """Encodes a text as its length and first letter; counts the calls, and how often it is hashed."""

    width = 2

    def __init__(self, version: str = "1") -> None:
        self.calls, self.hashed, self.version = 0, 0, version

    def encode(self, texts: list[str], batch_size: int = 64) -> Tensor:
        self.calls += 1
        return torch.tensor([[len(text), ord(text[0])] for text in texts], dtype=torch.float32)

    def fingerprint(self) -> str:
        self.hashed += 1
        return self.version


def cache(encoder: CountingEncoder, folder: Path, pooling: str = "cls") -> FeatureCache:
    return FeatureCache(encoder, pooling=pooling, folder=folder)


def test_descriptions_are_joined_by_id(world: World) -> None:
    stickers = load_corpus(load_card(str(world.card)), world.data).split("train")
    found = read_texts(world.runs, VIEWS).of(stickers)
    assert [row[0] for row in found.texts] == [f"content is {sticker.label_name}" for sticker in stickers]


def test_failed_and_absent_descriptions_are_masked(world: World) -> None:
    world.describe(failed=frozenset({"train/01.png"}), absent=frozenset({"train/03.png"}))
    stickers = load_corpus(load_card(str(world.card)), world.data).split("train")
    found = read_texts(world.runs, VIEWS).of(stickers)
    assert [i for i, row in enumerate(found.mask) if not row.any()] == [1, 3]
    assert found.mask[[0, 2]].all()


def test_masked_stickers_train_and_count(world: World) -> None:
    world.describe(failed=frozenset(f"train/{number:02d}.png" for number in range(20)))
    run = train(world.config("run"))
    assert (run / "summary.json").is_file()


def test_whole_texts_give_every_view_the_whole_description(world: World) -> None:
    stickers = load_corpus(load_card(str(world.card)), world.data).split("test")[:1]
    whole = read_texts(world.runs, VIEWS).of(stickers).whole()
    assert whole.texts == [("content is cold style is cold intention is cold details is cold",) * 4]


def test_released_texts_are_the_full_ones_in_lower_case(world: World) -> None:
    """A row that breaks the rule of the markers has no views, but the released code reads its text too."""
    rows = [
        {
            "sticker_id": row["path"],
            "path": row["path"],
            "split": row["split"],
            "status": "failed" if row["path"] == "test/01.png" else "ok",
            "finish_reason": None,
            "raw": None if row["path"] == "test/02.png" else f"#The Intention IS {row['label'].upper()}",
            **dict.fromkeys(VIEWS, None if row["path"] in ("test/01.png", "test/02.png") else "x"),
        }
        for row in world.rows
    ]
    write_shard(world.runs / "descriptions-00000.parquet", rows, "test")
    stickers = load_corpus(load_card(str(world.card)), world.data).split("test")
    found = read_texts(world.runs, VIEWS).released(stickers)
    assert [row[0] for row in found.texts[:3]] == ["#the intention is cold", "#the intention is warm", ""]
    assert all(len(row) == 4 and len(set(row)) == 1 for row in found.texts)
    assert found.mask.all(axis=1).tolist() == [True, True, False] + [True] * 9
    assert not found.mask[2].any()


def test_released_texts_of_a_run_without_full_texts_are_refused(world: World) -> None:
    stickers = load_corpus(load_card(str(world.card)), world.data).split("test")
    with pytest.raises(
        ValueError, match=r"12 descriptions in .* lack the column 'raw', the first is of 'test"
    ):
        read_texts(world.runs, VIEWS).released(stickers)


def test_features_are_computed_once(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    first = cache(encoder, tmp_path).features(TEXTS)
    again = cache(encoder, tmp_path).features(TEXTS)
    assert encoder.calls == 1
    assert torch.equal(first, again)
    assert first.tolist() == [[[1, 97], [1, 98]], [[1, 98], [0, 0]], [[1, 99], [1, 97]]]
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_weights_of_the_encoder_are_hashed_once_for_all_splits(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    features = cache(encoder, tmp_path)
    features.features(TEXTS)
    features.features(TEXTS[:1])
    assert (encoder.calls, encoder.hashed) == (2, 1)


def test_encoding_and_reading_say_how_far_they_are(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mghft.pipeline.progress._LINE_SECONDS", 0.0)
    changes: dict[str, Any] = {"epochs": 1, "warmup_epochs": 0}
    train(world.config("shown", **changes, progress=True))
    said = capsys.readouterr().err
    assert "encoding texts: 12/12 texts, 0 s left" in said
    assert "reading images: 24/24 images, 0 s left" in said
    train(world.config("cached", **changes, progress=True))
    assert "encoding" not in capsys.readouterr().err


def test_texts_beyond_a_batch_are_those_of_one_encoding(world: World) -> None:
    encoder = TextEncoder.from_pretrained(world.encoder)
    texts = sorted((" ".join(["warm"] * count) for count in range(1, 151)), key=len)
    found = features_of(encoder, [(text,) for text in reversed(texts)])
    assert torch.equal(found.squeeze(1).flip(0), encoder.encode(texts))


@pytest.mark.parametrize("change", ["encoder", "pooling", "texts"])
def test_features_of_another_key_are_computed_anew(tmp_path: Path, change: str) -> None:
    cache(CountingEncoder(), tmp_path).features(TEXTS)
    encoder = CountingEncoder("2" if change == "encoder" else "1")
    texts = [*TEXTS[:2], ("d", "a")] if change == "texts" else TEXTS
    cache(encoder, tmp_path, "mean" if change == "pooling" else "cls").features(texts)
    assert encoder.calls == 1


def test_features_of_the_real_encoder_follow_its_weights_and_pooling(world: World) -> None:
    def keys(name: str, **changes: str) -> set[str]:
        train(world.config(name, epochs=1, warmup_epochs=0, **changes))
        return {path.name for path in (world.folder / "cache").glob("text-*.safetensors")}

    first = keys("first")
    assert len(first) == 2
    assert keys("same") == first
    pooled = keys("pooled", text_pooling="cls")
    assert len(pooled) == 4
    weights = world.encoder / "model.safetensors"
    tensors = load_file(weights)
    tensors["encoder.layer.0.output.dense.bias"][0] += 1e-3
    save_file(tensors, weights, metadata={"format": "pt"})
    assert len(keys("retrained")) == 6


def test_features_under_the_name_of_others_are_rejected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = CountingEncoder()
    right = cache(encoder, tmp_path).features(TEXTS)
    (path,) = tmp_path.iterdir()
    cache(encoder, tmp_path, "mean").features(TEXTS)
    (other,) = set(tmp_path.iterdir()) - {path}
    other.replace(path)
    again = cache(encoder, tmp_path).features(TEXTS)
    assert torch.equal(again, right)
    assert encoder.calls == 3
    assert "computed again" in caplog.text


@pytest.mark.parametrize("damage", ["byte", "cut", "header", "empty"])
def test_tampered_features_are_rejected(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = CountingEncoder()
    right = cache(encoder, tmp_path).features(TEXTS)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    damaged = {
        "byte": bytes([*content[:-1], content[-1] ^ 1]),
        "cut": bytes(content[:-5]),
        "header": bytes(content).replace(b"sha256", b"sha257"),
        "empty": b"",
    }
    path.write_bytes(damaged[damage])
    again = cache(encoder, tmp_path).features(TEXTS)
    assert torch.equal(again, right)
    assert encoder.calls == 2
    assert "computed again" in caplog.text


def test_missing_descriptions_are_named(world: World) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere do not exist: give the run folder"):
        train(world.config("run", descriptions=world.folder / "nowhere"))
    (world.folder / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"has no descriptions-\*.parquet"):
        train(world.config("run", descriptions=world.folder / "empty"))


def test_descriptions_of_another_corpus_are_refused(world: World) -> None:
    other = world.folder / "other"
    other.mkdir()
    row = {"sticker_id": "x.png", "path": "x.png", "split": "train", "status": "ok", "finish_reason": "stop"}
    write_shard(other / "descriptions-00000.parquet", [{**row, **dict.fromkeys(VIEWS, "a")}], "test")
    with pytest.raises(ValueError, match="no sticker id in common"):
        train(world.config("run", descriptions=other))


def test_empty_split_is_named(world: World) -> None:
    world.write_table([row for row in world.rows if row["split"] != "validation"])
    with pytest.raises(ValueError, match="no sticker in the split 'validation'"):
        train(world.config("run"))


def test_sticker_without_label_is_named(world: World) -> None:
    rows = [{**row, "label": "" if row["path"] == "train/05.png" else row["label"]} for row in world.rows]
    world.write_table(rows)
    with pytest.raises(ValueError, match=r"'train/05.png' of the split 'train' has no label"):
        train(world.config("run"))


def test_broken_image_that_is_not_cached_is_named(world: World) -> None:
    (world.data / "train" / "07.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"image train/07.png below .* cannot be decoded"):
        train(world.config("run", cache_gb=0))


def test_text_statistics_leave_missing_views_out():
    features = torch.randn(50, 4, 6, generator=torch.Generator().manual_seed(0)) * 3 + 7
    mask = torch.ones(50, 4, dtype=torch.bool)
    mask[::2, 1] = False
    features[::2, 1] = 1e6
    mean, scale = text_statistics(features, mask)
    torch.testing.assert_close(mean[1], features[1::2, 1].mean(0))
    torch.testing.assert_close(mean[0], features[:, 0].mean(0))
    centred = (features - mean)[mask]
    assert abs(float(centred.square().mean().sqrt() / scale) - 1) < 1e-5
