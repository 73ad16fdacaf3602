"""Checkpoints of real architectures, made on the spot: random weights, a few hundred kilobytes, no download.

Each has its own chat template, its own image token and its own rule for the number of image tokens, as the
published models have. The weights are random but for one habit: after a letter comes mostly the next one of
the alphabet, and after z the quote. So strings end, and rows with four views come out; where a string begins
is left to the image.
"""

from __future__ import annotations

import itertools
import string
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn

WIDTH = 64
_HABIT = 50.0
_ORDER = string.ascii_lowercase + '"'
_TEXT = {
    "hidden_size": WIDTH,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
_TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_BODY = (
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
)


def llava(folder: Path) -> Path:
    """LLaVA-1.5: every image is 16 tokens."""
    tokenizer = _tokenizer(("<pad>", "<s>", "</s>", "<image>"), "</s>")
    template = _template("<image>\n", "<s>", "USER: ", " ", "ASSISTANT:")
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**_TOWER, image_size=32, patch_size=8, projection_dim=32),
        text_config=hf.LlamaConfig(**_TEXT, **_ids(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy="default",
        image_seq_length=16,
        tie_word_embeddings=False,
    )
    processor = hf.LlavaProcessor(
        image_processor=hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32),
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )
    return _save(hf.LlavaForConditionalGeneration(config), processor, folder)


def llava_next(folder: Path) -> Path:
    """LLaVA-NeXT: the image once as a whole and once in tiles, so the tokens follow its shape."""
    tokenizer = _tokenizer(("<pad>", "<s>", "</s>", "<image>", "[INST]", "[/INST]"), "</s>")
    template = _template("<image>\n", "<s>", "[INST] ", " ", "[/INST]")
    pinpoints = [[32, 64], [64, 32], [64, 64]]
    config = hf.LlavaNextConfig(
        vision_config=hf.CLIPVisionConfig(**_TOWER, image_size=32, patch_size=8, projection_dim=32),
        text_config=hf.MistralConfig(**_TEXT, **_ids(tokenizer), sliding_window=None),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy="default",
        image_grid_pinpoints=pinpoints,
        tie_word_embeddings=False,
    )
    processor = hf.LlavaNextProcessor(
        image_processor=hf.LlavaNextImageProcessor(
            size={"shortest_edge": 32}, crop_size=32, image_grid_pinpoints=pinpoints
        ),
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )
    return _save(hf.LlavaNextForConditionalGeneration(config), processor, folder)


def llava_onevision(folder: Path) -> Path:
    """LLaVA-OneVision: SigLIP tower, tiles, Qwen2 as the language model; knows videos besides images."""
    tokenizer = _tokenizer(("<pad>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"), "<|im_end|>")
    template = _template("<image>", "", "<|im_start|>user\n", "<|im_end|>\n", "<|im_start|>assistant\n")
    pinpoints = [[32, 32], [32, 64], [64, 32], [64, 64]]
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(**_TOWER, image_size=32, patch_size=8, vision_use_head=False),
        text_config=hf.Qwen2Config(**_TEXT, **_ids(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        vision_aspect_ratio="anyres_max_9",
        image_grid_pinpoints=pinpoints,
        tie_word_embeddings=False,
    )
    side = {"height": 32, "width": 32}
    processor = hf.LlavaOnevisionProcessor(
        image_processor=hf.LlavaOnevisionImageProcessor(size=side, image_grid_pinpoints=pinpoints),
        video_processor=hf.LlavaOnevisionVideoProcessor(size=side),
        tokenizer=tokenizer,
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=template,
    )
    return _save(hf.LlavaOnevisionForConditionalGeneration(config), processor, folder)


def qwen2_5_vl(folder: Path) -> Path:
    """Qwen2.5-VL: one token for every 28x28 pixels, at the image's own size."""
    special = ("<pad>", "<|im_start|>", "<|im_end|>")
    visual = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    tokenizer = _tokenizer((*special, *visual), "<|im_end|>")
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    template = _template(image, "", "<|im_start|>user\n", "<|im_end|>\n", "<|im_start|>assistant\n")
    start, end, picture, video = tokenizer.convert_tokens_to_ids(list(visual))
    config = hf.Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": WIDTH,
            "patch_size": 14,
            "window_size": 112,
            "fullatt_block_indexes": [1],
        },
        text_config={
            **_TEXT,
            **_ids(tokenizer),
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]},
        },
        vision_start_token_id=start,
        vision_end_token_id=end,
        image_token_id=picture,
        video_token_id=video,
        tie_word_embeddings=False,
    )
    areas = {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 64}
    processor = hf.Qwen2_5_VLProcessor(
        image_processor=hf.Qwen2VLImageProcessor(size=areas),
        video_processor=hf.Qwen2VLVideoProcessor(size=areas),
        tokenizer=tokenizer,
        chat_template=template,
    )
    return _save(hf.Qwen2_5_VLForConditionalGeneration(config), processor, folder)


ARCHITECTURES: dict[str, Callable[[Path], Path]] = {
    "llava": llava,
    "llava_next": llava_next,
    "llava_onevision": llava_onevision,
    "qwen2_5_vl": qwen2_5_vl,
}


def text_only(folder: Path) -> Path:
    """A language model that takes no image."""
    tokenizer = _tokenizer(("<pad>", "<s>", "</s>"), "</s>")
    tokenizer.chat_template = _template("", "<s>", "USER: ", " ", "ASSISTANT:")
    return _save(hf.LlamaForCausalLM(hf.LlamaConfig(**_TEXT, **_ids(tokenizer))), tokenizer, folder)


def _tokenizer(special: Sequence[str], end: str) -> Any:
    """One token for each printable ASCII character, besides the model's own special ones."""
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False)
    visible = (string.ascii_letters + string.digits + string.punctuation + " \n").encode()
    table = dict(zip(range(33, 127), map(chr, range(33, 127)), strict=True)) | {32: "Ġ", 10: "Ċ"}
    names = [*special, *sorted(table[byte] for byte in visible)]
    tokenizer = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = letters, decoders.ByteLevel()
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token=end,
        additional_special_tokens=[name for name in special if name not in ("<pad>", end)],
        padding_side="left",
    )


def _ids(tokenizer: Any) -> dict[str, int | None]:
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _template(image: str, begin: str, user: str, end: str, assistant: str) -> str:
    """A chat template; a system message stands before the user's turn as it is."""
    return (
        "{{ " + repr(begin) + " }}{% for message in messages %}"
        "{% if message['role'] == 'user' %}{{ "
        + repr(user)
        + " }}{% endif %}"
        + _BODY.replace("IMAGE", "{{ " + repr(image) + " }}")
        + "{{ "
        + repr(end)
        + " }}{% endfor %}{% if add_generation_prompt %}{{ "
        + repr(assistant)
        + " }}{% endif %}"
    )


def _save(model: nn.Module, processor: Any, folder: Path) -> Path:
    """Writes the checkpoint with the weights under the names that the published checkpoints have.

    transformers 5 writes `vision_tower.embeddings…`, vLLM reads `vision_tower.vision_model.…`.
    """
    _start(model, getattr(processor, "tokenizer", processor))
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        for name in ("config.json", "generation_config.json"):
            (folder / name).write_bytes((Path(scratch) / name).read_bytes())
        weights = load_file(Path(scratch) / "model.safetensors")
    tower, published = "vision_tower.", "vision_tower.vision_model."
    renamed = {
        name if published in name else name.replace(tower, published, 1): tensor
        for name, tensor in weights.items()
    }
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    processor.save_pretrained(folder)
    return folder


@torch.no_grad()
def _start(model: nn.Module, tokenizer: Any) -> None:
    """Random weights that keep the size of what flows through them, and the habit of `_ORDER`."""
    draw = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            fan_in = 1 if "embed_tokens" in name else weight[0].numel()
            weight.copy_(torch.randn(weight.shape, generator=draw) * fan_in**-0.5)
        elif name.endswith(("image_newline", "class_embedding")):
            weight.copy_(torch.randn(weight.shape, generator=draw))
        if "position_embedding" in name:
            # Places would drown the little that random weights make of colours.
            weight *= 0.2
        elif name.endswith(("linear_2.weight", "merger.mlp.2.weight")) or "o_proj" in name:
            # What attention brings from the image speaks as loud as the last letter.
            weight *= 2.0
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    letters = tokenizer.convert_tokens_to_ids(list(_ORDER))
    rare = [number for number in range(len(head)) if number not in letters[:-1]]
    head[rare] *= 0.1
    for before, after in itertools.pairwise(letters):
        head[after] += _HABIT * embedding[before] / WIDTH
