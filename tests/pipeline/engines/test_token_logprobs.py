"""Words as tokens: which spell them, and their probability together."""

import math
from types import SimpleNamespace

import pytest

from mghft.pipeline.engines.token_logprobs import find_tokens, sum_logprobs

VOCABULARY = {
    "A": 0,
    "\u0120A": 1,
    "\u2581A": 2,
    "B": 3,
    "\u2581\u2581B": 4,
    "AB": 5,
    "a": 6,
    "\u0120": 7,
    "C": 8,
}
TOKENIZER = SimpleNamespace(get_vocab=lambda: VOCABULARY)


def test_a_word_alone_and_behind_blanks():
    assert find_tokens(TOKENIZER, ("A", "B", "C")) == {"A": [0, 1, 2], "B": [3, 4], "C": [8]}
    assert find_tokens(TOKENIZER, ()) == {}


def test_a_word_that_is_no_single_token():
    with pytest.raises(ValueError, match="the model has no single token for 'D'"):
        find_tokens(TOKENIZER, ("A", "D"))


def test_tokens_of_a_word_are_summed_far_below_zero_too():
    told = {0: -900.0, 1: -900.0 + math.log(3), 3: -2.0, 8: -math.inf, 99: -0.1}
    first = {token: SimpleNamespace(logprob=value) for token, value in told.items()}
    found = sum_logprobs(first, {"A": [0, 1], "B": [3], "C": [8]})
    assert found == {"A": pytest.approx(-900.0 + math.log(4)), "B": pytest.approx(-2.0), "C": -math.inf}
