"""Frozen encoders of every family judged on squares, each row by its own formula."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoder_checkpoints import save_checkpoint
from squares import LABELS, World
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel
from typer.testing import CliRunner

from mghft.cli import app
from mghft.model.encoders import ImageTextEncoder
from mghft.pipeline.predictions import Predictions, read_predictions
from mghft.train.encoders.zero_shot import TEMPLATES, WORDS, label_vectors, label_words, zero_shot


def judged(world: World, model: str | None, *words: str) -> tuple[dict[str, Predictions], str]:
    """Return the test rows by system, and what the command printed."""
    out = world.folder / "probe"
    arguments = ["probe", *([model] if model else []), "--card", str(world.card), "--data", str(world.data)]
    arguments += ["--out", str(out), "--cache-dir", str(world.folder / "cache")]
    arguments += ["--text-encoder", str(world.encoder), *words]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return {one.system: one for one in read_predictions(out) if one.split == "test"}, result.output


@pytest.fixture
def clip(world: World) -> Path:
    save_checkpoint("clip", world.folder / "tiny-clip")
    return world.folder / "tiny-clip"


def test_every_way_of_an_image_text_encoder_has_a_row(world: World, clip: Path) -> None:
    found, output = judged(world, str(clip), "--descriptions", str(world.runs))
    assert set(found) == {
        "tiny-clip: zero-shot, 6 sentences",
        "tiny-clip: zero-shot, one sentence",
        "tiny-clip: linear probe",
        "tiny-clip: linear probe, projected",
        "tiny-clip + text: all views",
        *(f"text alone: {name}" for name in ("content", "style", "intention", "details", "all views")),
    }
    assert all(len(one.ids) == 12 for one in found.values())
    # The texts name the label, squares show their colour: both are learnt by a probe.
    for system in ("text alone: all views", "tiny-clip + text: all views", "tiny-clip: linear probe"):
        assert (found[system].probabilities.argmax(1) == found[system].true).mean() == 1, system
        assert system in output
    facts = json.loads((world.folder / "probe" / "probe.json").read_text())
    assert set(facts["systems"]) == {name for name in found if "zero-shot" not in name}
    assert all(1e-6 <= one["strength"] <= 1e6 for one in facts["systems"].values())


def test_one_sentence_is_transformers_zero_shot(world: World, clip: Path) -> None:
    found, _ = judged(world, str(clip), "--way", "zero-shot")
    one = found["tiny-clip: zero-shot, one sentence"]
    from PIL import Image

    pictures = [Image.open(world.data / id_) for id_ in one.ids]
    pixels = AutoImageProcessor.from_pretrained(clip)(images=pictures, return_tensors="pt")
    sentences = [f"this is a photo of {label}." for label in LABELS]
    tokens = AutoTokenizer.from_pretrained(clip)(sentences, return_tensors="pt", padding=True)
    with torch.inference_mode():
        expected = CLIPModel.from_pretrained(clip).eval()(**pixels, **tokens).logits_per_image.softmax(1)
    np.testing.assert_allclose(one.probabilities, expected.double().numpy(), atol=1e-4)


@pytest.mark.parametrize("family", ["siglip", "blip", "blip-2"])
def test_other_families_with_texts_have_the_same_rows(world: World, family: str) -> None:
    save_checkpoint(family, world.folder / family)
    found, _ = judged(world, str(world.folder / family), "--way", "zero-shot", "--way", "linear")
    assert len(found) == 4
    for one in found.values():
        assert one.probabilities.sum(1) == pytest.approx(np.ones(12))


def test_encoder_of_images_alone_is_probed_and_the_missing_row_said(world: World) -> None:
    save_checkpoint("vit", world.folder / "vit")
    found, output = judged(world, str(world.folder / "vit"), "--way", "zero-shot", "--way", "linear")
    assert list(found) == ["vit: linear probe"]
    assert "note: vit encodes images alone: there is no zero-shot row" in output


def test_texts_alone_need_no_image_encoder(world: World) -> None:
    found, output = judged(world, None, "--descriptions", str(world.runs))
    assert len(found) == 5 and all(name.startswith("text alone") for name in found)
    assert "text on the sticker" not in output


def test_text_on_the_sticker_has_a_row_of_its_own_and_a_count(world: World) -> None:
    card = world.card.read_text().replace("part: part}", "part: part, text: words}")
    world.card.write_text(card)
    lines = (world.data / "stickers.csv").read_text().splitlines()
    rows = [lines[0] + ",words"]
    rows += [line + ("," if place % 3 else f",{line.split(',')[1]}") for place, line in enumerate(lines[1:])]
    (world.data / "stickers.csv").write_text("\n".join(rows) + "\n")
    found, output = judged(world, None, "--descriptions", str(world.runs), "--way", "text")
    assert "text alone: text on the sticker" in found
    assert "note: 15 of 45 stickers have a text on them" in output


def test_vectors_are_kept_and_read_again(world: World, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = judged(world, str(clip), "--way", "linear")

    def never(*_: Any) -> None:
        raise AssertionError("encoded again")

    monkeypatch.setattr(ImageTextEncoder, "images", never)
    second, _ = judged(world, str(clip), "--way", "linear")
    for name, one in first.items():
        np.testing.assert_array_equal(one.probabilities, second[name].probabilities)


def test_vector_of_a_label_is_the_mean_over_words_and_sentences(clip: Path) -> None:
    encoder = ImageTextEncoder.from_pretrained(clip)
    found = label_vectors(encoder, ["sadness", "joy"], TEMPLATES, words=True)
    sentences = [template.format(word) for template in TEMPLATES for word in ("sad", "crying")]
    mean = encoder.texts([sentence.lower() for sentence in sentences]).mean(0)
    torch.testing.assert_close(found[0], mean / mean.norm())
    assert label_words("Sadness") == WORDS["sadness"] and label_words("smug") == ("smug",)


def test_sigmoids_are_compared_and_keep_their_order(tmp_path: Path) -> None:
    save_checkpoint("siglip", tmp_path)
    encoder = ImageTextEncoder.from_pretrained(tmp_path)
    images = torch.nn.functional.normalize(
        torch.randn(5, 1, 32, generator=torch.Generator().manual_seed(1)), dim=-1
    )
    texts = label_vectors(encoder, ["anger", "joy", "sadness"], TEMPLATES, words=True)
    logits = encoder.logits(images, texts).double()
    by_hand = logits.sigmoid() / logits.sigmoid().sum(1, keepdim=True)
    found = zero_shot(encoder, images, texts)
    torch.testing.assert_close(found, by_hand)
    assert found.argmax(1).tolist() == logits.argmax(1).tolist()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "there is nothing to judge: name an image encoder, or descriptions, or both"),
        (["--descriptions", "nowhere"], "nowhere"),
        (["--way", "guessing", "--descriptions", "x"], "is wrong at ways.0"),
    ],
)
def test_slips_are_one_sentence(world: World, words: list[str], message: str) -> None:
    arguments = [
        "probe",
        "--card",
        str(world.card),
        "--data",
        str(world.data),
        "--out",
        str(world.folder / "p"),
    ]
    result = CliRunner().invoke(app, [*arguments, *words])
    assert result.exit_code != 0
    assert message in f"{result.output}{result.exception}"
    assert not (world.folder / "p").exists()


def test_picture_that_cannot_be_decoded_is_left_out_of_every_row(
    world: World, clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = sorted((world.data / "test").iterdir())[4]
    broken.write_bytes(broken.read_bytes()[:80])
    found, _ = judged(world, str(clip), "--descriptions", str(world.runs))
    assert {len(one.ids) for one in found.values()} == {11}
    assert all(f"test/{broken.name}" not in one.ids for one in found.values())
    assert "1 of 12 images of the split test cannot be decoded and are left out" in caplog.text
