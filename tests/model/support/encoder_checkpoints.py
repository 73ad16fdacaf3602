"""Tiny random checkpoints of every family of image encoders, written as transformers writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertTokenizer,
    Blip2Config,
    Blip2ForImageTextRetrieval,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    LlavaConfig,
    LlavaForConditionalGeneration,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

TEXTS = ["a happy cat", "sad", "a sticker of someone feeling anger"]
FAMILIES = ("clip", "siglip", "blip", "blip-caption", "blip-2", "vit", "dinov2")
_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "happy", "sad", "cat", "sticker", "of"]
_WORDS += ["someone", "feeling", "anger", "joy"]
_VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
_TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": len(_WORDS),
    "max_position_embeddings": 16,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "pad_token_id": 0,
    "sep_token_id": 3,
}


def save_checkpoint(family: str, folder: Path, *, seed: int = 0) -> None:
    """Write a checkpoint of a family with weights of a seed."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    size = {"height": 32, "width": 32}
    text = {**_TEXT, "encoder_hidden_size": 32}
    if family == "clip":
        model: Any = CLIPModel(CLIPConfig(text_config=_TEXT, vision_config=_VISION, projection_dim=24))
        processor: Any = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size)
    elif family == "siglip":
        model, processor = (
            SiglipModel(SiglipConfig(text_config=_TEXT, vision_config=_VISION)),
            SiglipImageProcessor(size=size),
        )
    elif family.startswith("blip") and family != "blip-2":
        config = BlipConfig(
            text_config=text, vision_config=_VISION, projection_dim=24, image_text_hidden_size=24
        )
        kind = BlipForImageTextRetrieval if family == "blip" else BlipForConditionalGeneration
        model, processor = kind(config), BlipImageProcessor(size=size)
    elif family == "blip-2":
        query = {
            **_TEXT,
            "encoder_hidden_size": 32,
            "cross_attention_frequency": 1,
            "use_qformer_text_input": True,
        }
        config = Blip2Config(
            vision_config=_VISION,
            qformer_config=query,
            text_config={"model_type": "opt"},
            num_query_tokens=4,
            image_text_hidden_size=24,
        )
        model, processor = Blip2ForImageTextRetrieval(config), BlipImageProcessor(size=size)
    elif family == "llava":
        vision = {**_VISION, "model_type": "clip_vision_model"}
        words = {key: _TEXT[key] for key in _TEXT if key != "sep_token_id"}
        model = LlavaForConditionalGeneration(
            LlavaConfig(vision_config=vision, text_config={**words, "model_type": "llama"}, image_token_id=4)
        )
        processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size)
    elif family == "vit":
        model, processor = ViTModel(ViTConfig(**_VISION)), ViTImageProcessor(size=size)
    else:
        sizes = {key: value for key, value in _VISION.items() if key != "intermediate_size"}
        model, processor = Dinov2Model(Dinov2Config(**sizes)), ViTImageProcessor(size=size)
    # New heads differ by little more than rounding: make them differ.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.2)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(_WORDS), encoding="utf-8")
    tokenizer = BertTokenizer(str(folder / "vocab.txt"))
    tokenizer.model_max_length = 16
    tokenizer.save_pretrained(folder)
