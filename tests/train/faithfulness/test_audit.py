"""Audits whose answer is known: true texts rank high, foreign ones low, equal ones say nothing."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from browser import layout, needs_chromium
from encoder_checkpoints import save_checkpoint
from PIL import Image
from squares import COLOURS, LABELS, World
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel
from typer.testing import CliRunner

from mghft.cli import app
from mghft.model.encoders import ImageTextEncoder
from mghft.pipeline.runs.shards import write_shard
from mghft.pipeline.views import VIEWS
from mghft.train.data.splits import open_corpus, read_splits
from mghft.train.faithfulness.ranks import Control, _shuffled, chunks, picture_ranks

# In the words that the tiny CLIP knows; the third is chance for every picture.
TRUE = {"cold": "sad cat", "warm": "happy cat", "green": "anger sticker"}
# The same, with an order of words.
SENTENCES = {"cold": "sad cat of anger", "warm": "happy sticker of someone", "green": "anger of a cat"}
FALSE = {"cold": "happy cat", "warm": "anger sticker", "green": "sad cat"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP that has learnt which of three texts goes with which colour."""
    folder = tmp_path_factory.mktemp("clip") / "colour-clip"
    save_checkpoint("clip", folder)
    model = CLIPModel.from_pretrained(folder).train()
    processor, tokenizer = AutoImageProcessor.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    rng = np.random.default_rng(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    tokens = tokenizer([TRUE[label] for label in LABELS], return_tensors="pt", padding=True)
    for _ in range(60):
        squares = [
            Image.fromarray(rng.normal(COLOURS[label], 30, (36, 36, 3)).clip(0, 255).astype(np.uint8))
            for label in LABELS
        ]
        pixels = processor(images=squares, return_tensors="pt")
        loss = torch.nn.functional.cross_entropy(model(**pixels, **tokens).logits_per_image, torch.arange(3))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.1
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP that reads sentences: own above another colour's, and that above words in another order."""
    folder = tmp_path_factory.mktemp("clip") / "reading-clip"
    save_checkpoint("clip", folder)
    model = CLIPModel.from_pretrained(folder).train()
    processor, tokenizer = AutoImageProcessor.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    rng = np.random.default_rng(0)
    orders = {label: sorted(set(itertools.permutations(SENTENCES[label].split()))) for label in LABELS}
    for label in LABELS:
        orders[label].remove(tuple(SENTENCES[label].split()))
    texts = [SENTENCES[label] for label in LABELS]
    texts += [" ".join(words) for label in LABELS for words in orders[label]]
    tokens = tokenizer(texts, return_tensors="pt", padding=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(150):
        squares = [
            Image.fromarray(rng.normal(COLOURS[label], 30, (36, 36, 3)).clip(0, 255).astype(np.uint8))
            for label in LABELS
        ]
        logits = model(**processor(images=squares, return_tensors="pt"), **tokens).logits_per_image
        own, whole, mixed = logits.diagonal()[:, None], logits[:, :3], logits[:, 3:]
        foreign = whole[~torch.eye(3, dtype=torch.bool)].view(3, 2)
        loss = (3 - own + foreign).relu().mean() + (3 - foreign[..., None] + mixed[:, None]).relu().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.5
    model.save_pretrained(folder)
    return folder


def describe(world: World, run: Path, texts: dict[str, str], **views: dict[str, str]) -> None:
    """Write a run whose views are these texts by label, or those of a view's own."""
    run.mkdir(exist_ok=True)
    rows: list[dict[str, Any]] = [
        {
            "sticker_id": row["path"],
            "path": row["path"],
            "split": row["split"],
            "status": "ok",
            "finish_reason": "stop",
            **{view: views.get(view, texts).get(row["label"]) for view in VIEWS},
        }
        for row in world.rows
    ]
    write_shard(run / "descriptions-00000.parquet", rows, "test")


def audited(world: World, clip: Path, run: Path, *words: str) -> tuple[dict[str, dict[str, Any]], str]:
    out = world.folder / "audit"
    arguments = ["audit", str(run), str(world.card), "--data", str(world.data), "--encoder", str(clip)]
    arguments += [
        "--out",
        str(out),
        "--cache-dir",
        str(world.folder / "cache"),
        "--text-encoder",
        str(world.encoder),
    ]
    result = CliRunner().invoke(app, [*arguments, *words])
    assert result.exit_code == 0, f"{result.output} {result.exception!r}"
    found = json.loads((out / "audit.json").read_text())
    return {one["view"]: one for one in found["views"]}, result.output


def test_true_texts_rank_high_foreign_ones_low_and_equal_ones_say_nothing(world: World, clip: Path) -> None:
    run = world.folder / "mixed"
    nothing = dict.fromkeys(LABELS, "of a someone")
    describe(world, run, TRUE, style=FALSE, intention=nothing)
    views, _ = audited(world, clip, run)
    assert views["content"]["picture_rank"] > 0.98
    own, others, shuffled, _ = views["content"]["control"]
    assert own > others + 1 and own > shuffled and views["intention"]["control"] is None
    assert views["style"]["control"][0] < views["style"]["control"][1]
    assert views["style"]["picture_rank"] < 0.6
    # One text for all: there is no other to compare with.
    assert views["intention"]["distinct"] == 1 and views["intention"]["picture_rank"] is None
    rows = pq.read_table(run / "audit.parquet").to_pylist()
    assert len(rows) == 45 * 4
    assert {row["encoder"] for row in rows} == {"colour-clip"}


def test_known_order_own_others_shuffled(world: World, reader: Path) -> None:
    describe(world, world.folder / "ordered", SENTENCES)
    views, output = audited(world, reader, world.folder / "ordered")
    for view in VIEWS:
        control = Control(*views[view]["control"])
        assert control.own > control.others + 1 and control.others > control.others_shuffled + 1
        assert control.own > control.shuffled + 1 and control.in_order
    assert "reads words" not in output and "no judge" not in output


def test_encoder_that_fails_on_texts_of_known_order_is_named(world: World, reader: Path) -> None:
    foreign = {label: SENTENCES[other] for label, other in zip(LABELS, [*LABELS[1:], LABELS[0]], strict=True)}
    jumbled = {label: " ".join(reversed(text.split())) for label, text in SENTENCES.items()}
    describe(world, world.folder / "foreign", SENTENCES, style=foreign, details=jumbled)
    views, output = audited(world, reader, world.folder / "foreign")
    said = " ".join(output.split())
    assert "puts other stickers' texts above the own ones (style)" in said
    assert "does not put texts above their own words in another order (details)" in said
    assert not Control(*views["style"]["control"]).in_order


@pytest.mark.parametrize("text", ["a b", "a a b", "one two three four", "猫很高兴"])
def test_words_in_another_order_are_in_another_order(text: str) -> None:
    for seed in range(20):
        mixed = _shuffled(text, np.random.default_rng(seed))
        assert mixed != text and sorted(mixed) == sorted(text)
    assert _shuffled("a a", np.random.default_rng(0)) == "a a"


def test_a_few_foreign_texts_are_the_worst(world: World, clip: Path) -> None:
    run = world.folder / "few"
    describe(world, run, TRUE)
    rows = pq.read_table(run / "descriptions-00000.parquet").to_pylist()
    wrong = {row["sticker_id"] for row in rows[::9]}
    labels = {row["path"]: row["label"] for row in world.rows}
    for row in rows:
        if row["sticker_id"] in wrong:
            row["details"] = FALSE[labels[row["sticker_id"]]]
    (run / "descriptions-00000.parquet").unlink()
    write_shard(run / "descriptions-00000.parquet", rows, "test")
    audited(world, clip, run)
    worst = json.loads((world.folder / "audit" / "audit.json").read_text())["worst"]
    assert {(one["sticker_id"], one["view"]) for one in worst[: len(wrong)]} == {
        (id_, "details") for id_ in wrong
    }
    # Training can leave just these out.
    config = world.config("unused", descriptions=run, min_picture_rank=0.7)
    (split,) = read_splits(open_corpus(config.sources), ["train"], config.text, VIEWS).values()
    assert split.descriptions is not None
    left_out = {
        one.id for one, row in zip(split.stickers, split.descriptions.mask, strict=True) if not row[3]
    }
    assert left_out == {id_ for id_ in wrong if id_.startswith("train")}
    assert split.descriptions.mask[:, :3].all()


def test_agreement_with_another_run(world: World, clip: Path) -> None:
    describe(world, world.folder / "a", {label: f"content is {label}" for label in LABELS})
    describe(
        world, world.folder / "b", {label: f"style is {label}" for label in LABELS},
        details={"cold": "details is green", "warm": "details is cold", "green": "details is warm"},
    )  # fmt: skip
    views, output = audited(world, clip, world.folder / "a", "--other", str(world.folder / "b"))
    assert views["content"]["agreement_rank"] > 0.9
    assert views["details"]["agreement_rank"] < views["content"]["agreement_rank"] - 0.3
    assert "rank of other run" in output


def test_labels_named_and_contradictions(world: World, clip: Path) -> None:
    run = world.folder / "named"
    describe(
        world, run, {"cold": "cold", "warm": "warm", "green": "a cat"},
        intention={"cold": "warm", "warm": "warm", "green": "cold"},
    )  # fmt: skip
    views, _ = audited(world, clip, run)
    third = pytest.approx(1 / 3)
    assert views["content"]["names_label"] == pytest.approx(2 / 3) and views["content"]["names_other"] == 0
    assert views["intention"]["names_label"] == third and views["intention"]["names_other"] == pytest.approx(
        2 / 3
    )
    # Of cold stickers the views speak of cold, the intention of warm.
    assert views["content"]["contradicts"] == views["intention"]["contradicts"] == third


def test_long_texts_are_judged_in_pieces(clip: Path) -> None:
    assert chunks("One. Two! Three?") == ["One.", "Two!", "Three?"]
    assert [len(piece.split()) for piece in chunks("word " * 70)] == [30, 30, 10]
    assert chunks("一只猫。它很高兴。") == ["一只猫。", "它很高兴。"]
    encoder = ImageTextEncoder.from_pretrained(clip)
    pictures = [Image.new("RGB", (36, 36), COLOURS[label]) for label in LABELS]
    projected = encoder.images(pictures).projected
    assert projected is not None
    long = [". ".join([TRUE[label]] * 20) for label in LABELS]
    assert picture_ranks(encoder, projected, long).tolist() == [1.0, 1.0, 1.0]
    assert np.isnan(picture_ranks(encoder, projected, [long[0], "", long[2]])[1])


def test_slips_are_one_sentence_and_write_nothing(world: World, clip: Path) -> None:
    describe(world, world.folder / "a", TRUE)
    save_checkpoint("vit", world.folder / "vit")
    base = [
        "audit",
        str(world.folder / "a"),
        str(world.card),
        "--data",
        str(world.data),
        "--out",
        str(world.folder / "o"),
    ]
    result = CliRunner().invoke(app, [*base, "--encoder", str(world.folder / "vit")])
    assert (
        "vit encodes images alone: an audit needs texts in the same space"
        in f"{result.output}{result.exception}"
    )
    assert not (world.folder / "o").exists() and not (world.folder / "a" / "audit.parquet").exists()
    config = world.config("unused", descriptions=world.folder / "a", min_picture_rank=0.5)
    with pytest.raises(FileNotFoundError, match=r"has no audit.parquet: `mghft audit .*` writes it"):
        read_splits(open_corpus(config.sources), ["train"], config.text, VIEWS)


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_page_of_the_worst_fits(world: World, clip: Path, tmp_path: Path, width: int) -> None:
    describe(world, world.folder / "a", TRUE)
    audited(world, clip, world.folder / "a")
    found = layout(world.folder / "audit" / "index.html", tmp_path, width)
    assert found["width"] == found["visible"] == width
    assert found["images"] == 48 and found["broken"] == found["without_alt"] == found["unreachable"] == 0
    assert found["low_contrast"] == []
