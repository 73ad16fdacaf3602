"""Encoders of every family, tiny and random, against transformers' own forward passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoder_checkpoints import FAMILIES, TEXTS, save_checkpoint
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    Blip2ForImageTextRetrieval,
    BlipForImageTextRetrieval,
    CLIPModel,
    SiglipModel,
)

from mghft.model.encoders import ImageTextEncoder

CONTRASTIVE = {"clip": CLIPModel, "siglip": SiglipModel}


def pictures(count: int = 3) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (40, 30 + n, 3), np.uint8)) for n in range(count)]


def inputs_of(folder: Path, **how: Any) -> tuple[torch.Tensor, Any]:
    pixels = AutoImageProcessor.from_pretrained(folder)(images=pictures(), return_tensors="pt")[
        "pixel_values"
    ]
    return pixels, AutoTokenizer.from_pretrained(folder)(TEXTS, return_tensors="pt", **how)


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_contrastive_logits_are_transformers(family: str, tmp_path: Path) -> None:
    save_checkpoint(family, tmp_path)
    encoder = ImageTextEncoder.from_pretrained(tmp_path)
    how = {"padding": "max_length", "max_length": 16} if family == "siglip" else {"padding": True}
    pixels, tokens = inputs_of(tmp_path, truncation=True, **how)
    if family == "siglip":
        tokens = {"input_ids": tokens["input_ids"]}
    model = CONTRASTIVE[family].from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        expected = model(pixel_values=pixels, **tokens).logits_per_image
        tower = model.vision_model(pixel_values=pixels).pooler_output
    vectors = encoder.images(pictures())
    assert vectors.projected is not None and encoder.sigmoid is (family == "siglip")
    torch.testing.assert_close(
        encoder.logits(vectors.projected, encoder.texts(TEXTS)), expected, atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(vectors.features, tower, atol=1e-5, rtol=1e-4)


def test_blip_s_cosines_are_transformers(tmp_path: Path) -> None:
    save_checkpoint("blip", tmp_path)
    encoder = ImageTextEncoder.from_pretrained(tmp_path)
    pixels, tokens = inputs_of(tmp_path, padding=True, truncation=True)
    model = BlipForImageTextRetrieval.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        expected = model(
            pixel_values=pixels,
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            use_itm_head=False,
        ).itm_score
    vectors = encoder.images(pictures())
    assert vectors.projected is not None
    found = encoder.logits(vectors.projected, encoder.texts(TEXTS))
    torch.testing.assert_close(found * 0.07, expected, atol=1e-5, rtol=1e-4)


def test_blip_2_takes_the_best_query_token_as_transformers_does(tmp_path: Path) -> None:
    save_checkpoint("blip-2", tmp_path)
    encoder = ImageTextEncoder.from_pretrained(tmp_path)
    pixels, tokens = inputs_of(tmp_path, padding=True, truncation=True)
    model = Blip2ForImageTextRetrieval.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        expected = model(
            pixel_values=pixels, input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        ).logits_per_image
    vectors = encoder.images(pictures())
    assert vectors.projected is not None and vectors.projected.shape[1] == 4
    found = encoder.logits(vectors.projected, encoder.texts(TEXTS))
    torch.testing.assert_close(found * 0.07, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["blip-caption", "vit", "dinov2"])
def test_checkpoint_without_texts_gives_features_alone(family: str, tmp_path: Path) -> None:
    save_checkpoint(family, tmp_path)
    encoder = ImageTextEncoder.from_pretrained(tmp_path)
    vectors = encoder.images(pictures())
    assert vectors.projected is None and not encoder.reads_text
    assert vectors.features.shape == (3, 32) and vectors.features.std(0).max() > 1e-3
    with pytest.raises(ValueError, match="encodes images alone"):
        encoder.texts(["a"])


@pytest.mark.parametrize("family", FAMILIES)
def test_fingerprint_follows_the_weights(family: str, tmp_path: Path) -> None:
    for seed, name in ((0, "a"), (0, "b"), (1, "c")):
        save_checkpoint(family, tmp_path / name, seed=seed)
    a, b, c = (ImageTextEncoder.from_pretrained(tmp_path / name).fingerprint() for name in "abc")
    assert a == b != c


def test_long_text_is_cut_and_vectors_are_normalised(tmp_path: Path) -> None:
    save_checkpoint("clip", tmp_path)
    encoder = ImageTextEncoder.from_pretrained(tmp_path)
    found = encoder.texts(["a happy cat " * 40])
    assert found.norm(dim=1).tolist() == pytest.approx([1.0])


def test_folder_that_is_no_encoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no usable image encoder at .*name a folder or a Hugging Face id"):
        ImageTextEncoder.from_pretrained(tmp_path)
    save_checkpoint("clip", tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="no usable image encoder"):
        ImageTextEncoder.from_pretrained(tmp_path)


def test_language_model_with_a_picture_tower_is_named_for_what_it_is(tmp_path: Path) -> None:
    save_checkpoint("llava", tmp_path)
    with pytest.raises(ValueError, match=r"is a llava without .*, which is no encoder of pictures and texts"):
        ImageTextEncoder.from_pretrained(tmp_path)
