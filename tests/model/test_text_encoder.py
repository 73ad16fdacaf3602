from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from mghft.model import TextEncoder
from mghft.model.text_encoder import pool

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "laughs", "loudly", "at", "the", "moon"]
TEXTS = ["a cat", "a cat laughs loudly at the moon", "the moon", "a cat laughs"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT of random weights, saved as any encoder is."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("encoder")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    ).save_pretrained(path)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=5,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=12,
    )
    BertModel(config).save_pretrained(path)
    return path


@pytest.mark.parametrize("pooling", ["last4_masked_mean", "last4_mean", "masked_mean", "cls"])
def test_vector_of_a_text_does_not_depend_on_its_batch(folder: Path, pooling: str) -> None:
    encoder = TextEncoder.from_pretrained(folder, pooling=pooling)
    together = encoder.encode(TEXTS, batch_size=3)
    alone = torch.cat([encoder.encode([text]) for text in TEXTS])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    assert together.shape == (4, encoder.width) == (4, 16)


def test_features_are_plain_float32_tensors_on_the_cpu(folder: Path) -> None:
    features = TextEncoder.from_pretrained(folder).encode(TEXTS)
    assert (features.dtype, features.device.type) == (torch.float32, "cpu")
    assert not features.is_inference() and not features.requires_grad


def test_masked_means_leave_padding_out() -> None:
    states = [torch.full((1, 3, 2), float(layer)) for layer in range(6)]
    for state in states:
        state[:, 2] = 100.0
    mask = torch.tensor([[1, 1, 0]])
    assert pool(states, mask, "last4_masked_mean").tolist() == [[3.5, 3.5]]
    assert pool(states, mask, "masked_mean").tolist() == [[5.0, 5.0]]
    assert pool(states, mask, "cls").tolist() == [[5.0, 5.0]]
    assert pool(states, mask, "last4_mean")[0, 0].item() == pytest.approx((3.5 + 3.5 + 100) / 3)


def test_released_pooling_pads_to_the_full_length(folder: Path) -> None:
    encoder = TextEncoder.from_pretrained(folder, pooling="last4_mean")
    ids = torch.tensor([[2, 4, 5, 3] + [0] * 8])
    mask = (ids != 0).long()
    with torch.no_grad():
        states = encoder.model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    expected = torch.stack(states[-4:]).mean(dim=(0, 2))
    torch.testing.assert_close(encoder.encode(["a cat"]), expected)


def test_long_text_is_cut_to_what_the_encoder_reads(folder: Path) -> None:
    encoder = TextEncoder.from_pretrained(folder)
    assert torch.equal(encoder.encode(["cat " * 50]), encoder.encode(["cat " * 70]))


def test_no_texts_give_no_rows(folder: Path) -> None:
    assert TextEncoder.from_pretrained(folder).encode([]).shape == (0, 16)


def test_fingerprint_tells_encoders_and_poolings_apart(folder: Path) -> None:
    first = TextEncoder.from_pretrained(folder)
    again = TextEncoder.from_pretrained(folder)
    other = TextEncoder.from_pretrained(folder, pooling="cls")
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    again.model.embeddings.word_embeddings.weight.data[0, 0] += 1
    assert first.fingerprint() != again.fingerprint()


def test_bundled_encoder_puts_a_paraphrase_nearer_than_another_subject() -> None:
    encoder = TextEncoder.from_pretrained("minilm", pooling="masked_mean")
    texts = ["a cat laughs", "a kitten is laughing", "the stock market fell"]
    first, second, third = torch.nn.functional.normalize(encoder.encode(texts))
    assert encoder.width == 384
    assert first @ second > 0.5 > first @ third


def test_encoder_without_safetensors_is_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    weights = BertModel.from_pretrained(folder).state_dict()
    torch.save(weights, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"no usable text encoder at .*safetensors"):
        TextEncoder.from_pretrained(tmp_path)


def test_unknown_pooling_names_the_choices(folder: Path) -> None:
    with pytest.raises(ValueError, match="choose one of last4_masked_mean, last4_mean, masked_mean, cls"):
        TextEncoder.from_pretrained(folder, pooling="max")
