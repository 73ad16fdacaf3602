"""A sticker's own words cannot pass for the model's marks."""

import pytest
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from mghft.pipeline.engines.vllm_engine import _marks, defuse


@pytest.fixture
def tokenizer():
    words = {"[UNK]": 0, "look": 1, "here": 2, "<": 3, "image": 4, ">": 5, "end": 6}
    plain = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    plain.pre_tokenizer = Whitespace()
    whole = PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="[UNK]", eos_token="<|end|>")
    whole.add_tokens([AddedToken("<image>", special=True), AddedToken("end", special=True)])
    return whole


def test_marks_are_the_tokenizers_own_longest_first(tokenizer):
    assert set(_marks(tokenizer)) == {"<|end|>", "<image>", "[UNK]"}
    assert [len(mark) for mark in _marks(tokenizer)] == [7, 7, 5]


def test_a_mark_in_a_stickers_words_is_read_as_words(tokenizer):
    place = tokenizer.convert_tokens_to_ids("<image>")
    text = "look <image> here<image><|end|>"
    assert tokenizer(text)["input_ids"].count(place) == 2
    read = tokenizer(defuse(text, _marks(tokenizer)))["input_ids"]
    assert place not in read
    assert tokenizer.eos_token_id not in read


def test_other_words_stay_as_they_are(tokenizer):
    text = "an <img> at the end, 1 < 2 > 0 [OK]"
    assert defuse(text, _marks(tokenizer)) == text
