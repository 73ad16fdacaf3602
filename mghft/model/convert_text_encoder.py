"""The text encoder inside a released checkpoint, written as a folder that `TextEncoder` reads."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mghft.model.checkpoint_files import WEIGHTS_NAME, find_nonfinite
from mghft.model.saving import sync, sync_tree, write_tensors
from mghft.model.text_encoder import BUNDLED, bundled_folder

BERT_HEAD_WIDTH = 64


def save_text_encoder(
    tensors: Mapping[str, Tensor],
    folder: str | Path,
    *,
    heads: int | None = None,
    tokenizer: str | Path | None = None,
) -> list[str]:
    """Write config.json and model.safetensors of a BERT, and a tokenizer where one is named.

    Args:
        tensors: under BERT's own names, as `Conversion.text_encoder` has them.
        folder: must not exist yet; complete or absent afterwards.
        heads: attention heads per layer, which shapes don't tell; default: one per 64 of the width, as in
            every published BERT.
        tokenizer: folder or Hugging Face id to copy it from, or "minilm", whose package has the uncased BERT
            vocabulary; a checkpoint has none.

    Returns:
        Names of tensors that BERT has no place for.

    Raises:
        ValueError: the text encoder is missing, is not a whole BERT, or the tokenizer does not fit it.
        FileExistsError: the folder already exists.
        OSError: it cannot be written; nothing is left of it.
    """
    from transformers import BertConfig, BertModel  # seconds to import

    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} already exists: choose another folder for the text encoder")
    config = BertConfig(**_shape(tensors, heads), architectures=["BertModel"])
    with torch.device("meta"):
        model = BertModel(config)  # type: ignore[no-untyped-call]
    wanted = model.state_dict()
    wrong = [
        name for name, value in wanted.items() if name not in tensors or tensors[name].shape != value.shape
    ]
    if wrong:
        raise ValueError(
            f"the checkpoint's text encoder is not a whole BERT: {wrong[0]!r} is missing or misshapen"
        )
    kept = {name: tensors[name].contiguous() for name in wanted}
    if (broken := find_nonfinite(kept)) is not None:
        raise ValueError(f"the checkpoint's text encoder holds NaN or infinity in {broken!r}")
    words = None if tokenizer is None else _load_tokenizer(tokenizer, config.vocab_size)
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        config.save_pretrained(fresh)
        write_tensors(fresh / WEIGHTS_NAME, kept)
        if words is not None:
            words.save_pretrained(fresh)
        sync_tree(fresh)
        fresh.rename(folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return [name for name in tensors if name not in wanted]


def _load_tokenizer(source: str | Path, vocabulary: int) -> Any:
    """Load a tokenizer, which must not have more word pieces than the encoder."""
    from transformers import AutoTokenizer

    try:
        folder = bundled_folder() if source == BUNDLED else str(source)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"no usable tokenizer at {source}: name a folder or a Hugging Face id") from error
    if len(tokenizer) > vocabulary:
        raise ValueError(
            f"the tokenizer at {source} has {len(tokenizer)} word pieces where the encoder has "
            f"{vocabulary}: name the one that it was trained with"
        )
    return tokenizer


def _shape(tensors: Mapping[str, Tensor], heads: int | None) -> dict[str, Any]:
    """Return the fields of BertConfig that the shapes tell."""
    tables = {
        "vocab_size": "embeddings.word_embeddings.weight",
        "max_position_embeddings": "embeddings.position_embeddings.weight",
        "type_vocab_size": "embeddings.token_type_embeddings.weight",
        "intermediate_size": "encoder.layer.0.intermediate.dense.weight",
    }
    for name in tables.values():
        if name not in tensors or tensors[name].ndim != 2:
            raise ValueError(f"the checkpoint holds no BERT as text encoder: {name!r} is missing")
    width = tensors[tables["vocab_size"]].shape[1]
    heads = heads or max(width // BERT_HEAD_WIDTH, 1)
    if width % heads:
        raise ValueError(f"{heads} heads do not divide the text encoder's width {width}: give another number")
    layers = {match[1] for name in tensors if (match := re.match(r"encoder\.layer\.(\d+)\.", name))}
    return {
        **{field: tensors[name].shape[0] for field, name in tables.items()},
        "hidden_size": width,
        "num_hidden_layers": len(layers),
        "num_attention_heads": heads,
    }
