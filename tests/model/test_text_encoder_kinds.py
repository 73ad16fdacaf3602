"""Encoders of BERT's kind in several languages, tiny and random, saved and loaded as any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import pre_tokenizers
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertModel,
    BertTokenizer,
    DistilBertConfig,
    DistilBertModel,
    DistilBertTokenizer,
    ElectraConfig,
    ElectraModel,
    GPT2Config,
    GPT2Model,
    MPNetConfig,
    MPNetModel,
    MPNetTokenizer,
    RobertaConfig,
    RobertaModel,
    RobertaTokenizer,
    T5Config,
    T5Model,
    XLMRobertaConfig,
    XLMRobertaModel,
    XLMRobertaTokenizer,
)

from mghft.model import MGHFT, MGHFTConfig, TextEncoder

ENGLISH, CHINESE = "a cat laughs loudly at the moon", "一只猫对着月亮大声笑"
TEXTS = ["a cat", ENGLISH, CHINESE, "猫笑", "a 猫", "the moon"]
POOLINGS = ("last4_masked_mean", "last4_mean", "masked_mean", "cls")
SHAPE = {"num_hidden_layers": 5, "num_attention_heads": 2, "intermediate_size": 32}
LENGTH = 12

Built = tuple[Any, Any]


def _bert_vocabulary(pieces: list[str]) -> dict[str, int]:
    return {piece: i for i, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces])}


def _bert(width: int, pieces: list[str]) -> Built:
    vocabulary = _bert_vocabulary(pieces)
    size = {"vocab_size": len(vocabulary), "hidden_size": width, "max_position_embeddings": LENGTH}
    return BertTokenizer(vocab=vocabulary), BertModel(BertConfig(**size, **SHAPE))


def _english_bert(width: int) -> Built:
    return _bert(width, ENGLISH.split())


def _chinese_bert(width: int) -> Built:
    return _bert(width, list(CHINESE))


def _multilingual_bert(width: int) -> Built:
    return _bert(width, [*ENGLISH.split(), *CHINESE])


def _distilbert(width: int) -> Built:
    vocabulary = _bert_vocabulary(ENGLISH.split())
    config = DistilBertConfig(
        vocab_size=len(vocabulary),
        dim=width,
        n_layers=5,
        n_heads=2,
        hidden_dim=32,
        max_position_embeddings=LENGTH,
    )
    return DistilBertTokenizer(vocab=vocabulary), DistilBertModel(config)


def _electra(width: int) -> Built:
    vocabulary = _bert_vocabulary(ENGLISH.split())
    size = {"vocab_size": len(vocabulary), "hidden_size": width, "max_position_embeddings": LENGTH}
    return BertTokenizer(vocab=vocabulary), ElectraModel(ElectraConfig(embedding_size=8, **size, **SHAPE))


def _albert(width: int) -> Built:
    vocabulary = _bert_vocabulary(ENGLISH.split())
    size = {"vocab_size": len(vocabulary), "hidden_size": width, "max_position_embeddings": LENGTH}
    return BertTokenizer(vocab=vocabulary), AlbertModel(AlbertConfig(embedding_size=8, **size, **SHAPE))


def _of_roberta(width: int, vocabulary: int) -> dict[str, Any]:
    """RoBERTa's positions start behind the padding's index, so two of its 14 are never used."""
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "max_position_embeddings": LENGTH + 2,
        **ids,
        **SHAPE,
    }


def _roberta(width: int) -> Built:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: i for i, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *alphabet])}
    model = RobertaModel(RobertaConfig(**_of_roberta(width, len(vocabulary))))
    return RobertaTokenizer(vocab=vocabulary, merges=[]), model


def _xlm_roberta(width: int) -> Built:
    """Also the shape of multilingual E5."""
    words = ["▁", *("▁" + word for word in ENGLISH.split()), *CHINESE]
    pieces = [(piece, -2.0) for piece in ("<s>", "<pad>", "</s>", "<unk>", *words, "<mask>")]
    model = XLMRobertaModel(XLMRobertaConfig(**_of_roberta(width, len(pieces))))
    return XLMRobertaTokenizer(vocab=pieces), model


def _mpnet(width: int) -> Built:
    pieces = ["<s>", "<pad>", "</s>", "[UNK]", *ENGLISH.split(), "<mask>"]
    model = MPNetModel(MPNetConfig(**_of_roberta(width, len(pieces))))
    return MPNetTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}), model


KINDS: dict[str, tuple[Callable[[int], Built], int]] = {
    "English BERT": (_english_bert, 16),
    "Chinese BERT": (_chinese_bert, 24),
    "multilingual BERT": (_multilingual_bert, 20),
    "RoBERTa": (_roberta, 16),
    "XLM-R": (_xlm_roberta, 24),
    "MPNet": (_mpnet, 32),
    "DistilBERT": (_distilbert, 20),
    "ELECTRA": (_electra, 16),
    "ALBERT": (_albert, 24),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    torch.manual_seed(0)
    build, width = KINDS[request.param]
    folder = tmp_path_factory.mktemp("encoder")
    for part in build(width):
        part.save_pretrained(folder)
    return folder, width


def test_width_is_read_from_the_encoder(kind: tuple[Path, int]) -> None:
    folder, width = kind
    encoder = TextEncoder.from_pretrained(folder)
    assert encoder.width == width
    assert encoder.encode(TEXTS).shape == (len(TEXTS), width)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_does_not_show_in_a_vector(kind: tuple[Path, int], pooling: str) -> None:
    encoder = TextEncoder.from_pretrained(kind[0], pooling=pooling)
    together = encoder.encode(TEXTS)
    alone = torch.cat([encoder.encode([text]) for text in TEXTS])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_masked_mean_is_the_mean_over_the_text_alone(kind: tuple[Path, int]) -> None:
    encoder = TextEncoder.from_pretrained(kind[0])
    tokens = encoder.tokenizer("a cat", return_tensors="pt")
    with torch.no_grad():
        states = encoder.model(**tokens, output_hidden_states=True).hidden_states
    expected = sum(state[0].mean(dim=0) for state in states[-4:]) / 4
    torch.testing.assert_close(encoder.encode([ENGLISH, "a cat"])[1], expected, rtol=1e-4, atol=1e-5)


def test_text_fills_every_position_of_the_encoder_and_is_cut_there(kind: tuple[Path, int]) -> None:
    encoder = TextEncoder.from_pretrained(kind[0])
    assert encoder.max_tokens == LENGTH
    longest = "a " * 40
    assert torch.equal(encoder.encode([longest]), encoder.encode([longest + "moon"]))


def test_model_of_the_encoders_width_reads_its_features(kind: tuple[Path, int]) -> None:
    encoder = TextEncoder.from_pretrained(kind[0])
    model = MGHFT(MGHFTConfig.preset("tiny", text_dim=encoder.width))
    features = encoder.encode(TEXTS[:4]).unsqueeze(0)
    assert bool(model.eval()(torch.randn(1, 3, 64, 64), features).logits.isfinite().all())


def test_chinese_encoder_tells_chinese_texts_apart(tmp_path: Path) -> None:
    for part in _chinese_bert(16):
        part.save_pretrained(tmp_path)
    first, second, unknown, other_unknown = TextEncoder.from_pretrained(tmp_path).encode(
        ["一只猫", "大声笑", "cat", "moon"]
    )
    assert not torch.allclose(first, second, atol=1e-3)
    torch.testing.assert_close(unknown, other_unknown)


@pytest.mark.parametrize("decoder", ["T5", "GPT-2"])
def test_model_of_another_kind_is_refused(decoder: str, tmp_path: Path) -> None:
    tokenizer, _ = _english_bert(16)
    size = {"vocab_size": 16, "num_layers": 1, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_heads": 2}
    if decoder == "T5":
        T5Model(T5Config(**size)).save_pretrained(tmp_path)
    else:
        GPT2Model(GPT2Config(vocab_size=16, n_embd=16, n_layer=1, n_head=2)).save_pretrained(tmp_path)
        tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is not a text encoder of BERT's kind") as caught:
        TextEncoder.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)
