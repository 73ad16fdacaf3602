"""Words as first tokens in a model's own vocabulary, and their log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

# Blanks before a word, as byte-level vocabularies and SentencePiece write them.
_BLANKS = "\u0120\u2581 "


def find_tokens(tokenizer: Any, words: tuple[str, ...]) -> dict[str, list[int]]:
    """Return the tokens that spell each word, alone or behind a blank; every one is the word's answer.

    Which of them a model writes depends on how its chat template ends: "ASSISTANT:" makes a blank likely.

    Raises:
        ValueError: a word is no single token of this model.
    """
    found: dict[str, list[int]] = {word: [] for word in words}
    for token, number in tokenizer.get_vocab().items() if words else ():
        plain = token.lstrip(_BLANKS)
        if plain in found:
            found[plain].append(number)
    if lacking := [word for word, numbers in found.items() if not numbers]:
        raise ValueError(f"the model has no single token for {lacking[0]!r}")
    return found


def sum_logprobs(first: Mapping[int, Any], tokens: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Return the log-probability of each word: of all the tokens that spell it together.

    Args:
        first: vLLM's `Logprob` by token, in the first place.
        tokens: from `find_tokens`.
    """
    found = {}
    for word, ids in tokens.items():
        values = [first[number].logprob for number in ids]
        top = max(values)
        # All may be -inf, where a model rules a token out.
        found[word] = top if math.isinf(top) else top + math.log(sum(math.exp(v - top) for v in values))
    return found
