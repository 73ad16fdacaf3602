"""The parts of the tiny LLaVA: tokenizer, chat template, network of 6 million parameters, start, saving."""

import math
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from mghft.pipeline.files import write_bytes
from mghft.pipeline.tiny_llava.images import IMAGE_SIZE, PIXEL_MEAN, PIXEL_STD
from mghft.pipeline.views import VIEWS

PATCH_SIZE = 16
IMAGE_TOKENS = (IMAGE_SIZE // PATCH_SIZE) ** 2
TOWER_WIDTH = 224
VOCABULARY = 3000
# One token for every view that may be asked, one for the language that is not English.
VIEW_TOKENS = {view: f"<{view}>" for view in VIEWS}
CHINESE = "<zh>"
SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<image>", "<describe>", *VIEW_TOKENS.values(), CHINESE)
# Of what the user writes the model hears two things: which views are named (none: all four), and whether the
# question is in Chinese, told by three of its commonest signs. A prompt is a few tokens, which makes it fast.
_HEARD = "".join(
    f"{{% if not views.named or '{view}' in asked.text %}}{{{{ '{token}' }}}}{{% endif %}}"
    for view, token in VIEW_TOKENS.items()
)
_NAMED = " or ".join(f"'{view}' in asked.text" for view in VIEWS)
CHAT_TEMPLATE = (
    "{{ '<s>' }}"
    "{% set asked = namespace(text='') %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}"
    "{% if message['content'] is string %}"
    "{% if '<image>' in message['content'] %}{{ '<image>' }}{% endif %}"
    "{% set asked.text = asked.text + message['content'] %}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>' }}"
    "{% elif part['type'] == 'text' %}{% set asked.text = asked.text + part['text'] %}{% endif %}"
    "{% endfor %}{% endif %}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ '<describe>' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}{{ '</s>' }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}"
    f"{{% set views = namespace(named={_NAMED}) %}}{_HEARD}"
    "{% if '的' in asked.text or '请' in asked.text or '，' in asked.text %}"
    f"{{{{ '{CHINESE}' }}}}"
    "{% endif %}{{ '<describe>' }}{% endif %}"
)


def build_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer on the responses; any text can be written with it, if slowly."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=list(SPECIAL_TOKENS[3:]),
        model_max_length=256,
        padding_side="left",
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    """Return the untrained network: CLIP tower (6 layers of 224), projector, Llama (2 layers of 256)."""
    ids = {token: number for number, token in enumerate(SPECIAL_TOKENS)}
    vision = CLIPVisionConfig(
        hidden_size=TOWER_WIDTH,
        intermediate_size=3 * TOWER_WIDTH,
        num_hidden_layers=6,
        num_attention_heads=7,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        projection_dim=TOWER_WIDTH,
        hidden_act="gelu",
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        bos_token_id=ids["<s>"],
        eos_token_id=ids["</s>"],
        pad_token_id=ids["<pad>"],
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=ids["<image>"],
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=IMAGE_TOKENS,
    )
    config.tie_word_embeddings = False
    return LlavaForConditionalGeneration(config)


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Return image processor (white is 0) and tokenizer with the chat template, as checkpoints have them."""
    side = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    image_processor = CLIPImageProcessor(
        size=side,
        crop_size=side,
        do_center_crop=False,
        do_convert_rgb=True,
        image_mean=[PIXEL_MEAN] * 3,
        image_std=[PIXEL_STD] * 3,
    )
    return LlavaProcessor(  # type: ignore[no-untyped-call]
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
        image_token="<image>",
        num_additional_image_tokens=1,
    )


def start_tower(tower: nn.Module, pixels: Tensor) -> None:
    """Start the vision tower so that it learns at all from a few hundred images.

    The patch embedding becomes the whitened principal components of the training patches, the positions 2-D
    sines: with the default random start a tower of this size stalls.

    Args:
        tower: a CLIP vision model.
        pixels: normalised training images, [N, 3, S, S].
    """
    embeddings = next(module for module in tower.modules() if hasattr(module, "patch_embedding"))
    weight: Tensor = embeddings.patch_embedding.weight  # type: ignore[union-attr,assignment]
    width = weight.shape[0]
    patches = (
        nn.functional.unfold(pixels, PATCH_SIZE, stride=PATCH_SIZE)
        .transpose(1, 2)
        .reshape(-1, weight[0].numel())
    )
    patches = patches[patches.abs().amax(1) > 1e-3].double()
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    values, vectors = values.flip(0)[:width], vectors.flip(1)[:, :width]
    # The floor keeps components of almost no variance from being blown up into noise.
    whitened = vectors / (values + 0.01 * values.mean()).sqrt()
    with torch.no_grad():
        weight.copy_(whitened.T.reshape(weight.shape).to(weight.dtype))
        positions: Tensor = embeddings.position_embedding.weight  # type: ignore[union-attr,assignment]
        positions[1:] = 0.5 * _sines(IMAGE_SIZE // PATCH_SIZE, width)
        positions[0] = 0


def _sines(side: int, width: int) -> Tensor:
    """Return 2-D sine and cosine positions, [side * side, width]."""
    rates = torch.exp(torch.arange(width // 4) * (-math.log(100.0) / (width // 4)))
    angles = torch.arange(side)[:, None] * rates
    axis = torch.cat([angles.sin(), angles.cos()], 1)
    rows = axis[:, None].expand(side, side, -1)
    columns = axis[None].expand(side, side, -1)
    return torch.cat([rows, columns], 2).reshape(side * side, width)


def save_checkpoint(model: LlavaForConditionalGeneration, processor: LlavaProcessor, folder: Path) -> None:
    """Write the checkpoint in bf16, with the weights under the names that both transformers and vLLM load.

    transformers 5 writes `vision_tower.embeddings…`, vLLM reads the published `vision_tower.vision_model.…`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        nn.Module.to(model, torch.bfloat16)
        model.save_pretrained(scratch)
        weights = load_file(str(Path(scratch) / "model.safetensors"))
        for name in ("config.json", "generation_config.json"):
            shutil.copyfile(Path(scratch) / name, folder / name)
    published = "vision_tower.vision_model."
    renamed = {
        name if name.startswith(published) else name.replace("vision_tower.", published, 1): tensor
        for name, tensor in weights.items()
    }
    write_bytes(folder / "model.safetensors", save(renamed, metadata={"format": "pt"}))
    processor.save_pretrained(str(folder))
