"""Counts on descriptions, without labels learned: answers, length, distinctness, slips."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mghft.train.probing.described_runs import DescribedSticker
from mghft.train.probing.lexicon import in_scripts, labels_named, refuses, scripts_of, words


@dataclass(frozen=True)
class ViewStatistics:
    """Means and shares from 0 to 1 of one view; None where there is nothing to count.

    Attributes:
        filled: share of rows with a text.
        distinct: share of different texts.
        distinct_1, distinct_2: different words and pairs of words by all (Li et al., NAACL 2016).
        cosine: mean over all pairs of stickers.
        overlap: shared words by all words, mean over the other views.
        own_label, any_label: share of texts that name the sticker's label, or any label of the run.
    """

    filled: float | None
    words: float | None
    distinct: float | None
    distinct_1: float | None
    distinct_2: float | None
    cosine: float | None
    overlap: float | None
    refusals: float | None
    wrong_language: float | None
    own_label: float | None
    any_label: float | None


@dataclass(frozen=True)
class TextStatistics:
    """Counts of one run, its views taken together; means and shares as of `ViewStatistics`.

    Attributes:
        rows, ok: numbers of rows.
        prompt_tokens, output_tokens: mean per row, None where the engine gave none.
    """

    rows: int
    ok: int
    ok_share: float
    finish_reasons: dict[str, int]
    prompt_tokens: float | None
    output_tokens: float | None
    words: float | None
    distinct: float | None
    overlap: float | None
    refusals: float | None
    wrong_language: float | None
    own_label: float | None
    any_label: float | None
    cosine: float | None
    views: dict[str, ViewStatistics]


class _LabelsNamed(NamedTuple):
    own: float | None
    any: float | None


def count_texts(
    stickers: Sequence[DescribedSticker],
    features: NDArray[np.float32],
    views: Sequence[str],
    language: str,
) -> TextStatistics:
    """Count what the texts of one run are like.

    Args:
        stickers: of the run, failed ones included.
        features: [n, V, width] of the encoder, in the order of stickers and views; zeros where a view is
            missing.
        views: names of the columns.
        language: the prompt pack's.
    """
    labels = sorted({sticker.label_name for sticker in stickers if sticker.label_name})
    scripts = scripts_of(language)
    tokens = {view: [words(sticker.texts[view]) for sticker in stickers] for view in views}
    by_view = {
        view: _view_statistics(view, stickers, tokens, mean_cosine(features[:, column]), labels, scripts)
        for column, view in enumerate(views)
    }
    statuses = Counter(sticker.status for sticker in stickers)
    wholes = [" ".join(sticker.texts[view] for view in views) for sticker in stickers]
    named = _labels_named(stickers, wholes, labels)
    return TextStatistics(
        rows=len(stickers),
        ok=statuses["ok"],
        ok_share=statuses["ok"] / len(stickers),
        finish_reasons=dict(
            Counter(sticker.finish_reason or "unknown" for sticker in stickers).most_common()
        ),
        prompt_tokens=_mean(sticker.prompt_tokens for sticker in stickers),
        output_tokens=_mean(sticker.output_tokens for sticker in stickers),
        words=_mean(len(words(text)) for text in wholes if text.strip()),
        distinct=_distinct(wholes),
        overlap=_mean(
            _jaccard(tokens[one][row], tokens[other][row])
            for row in range(len(stickers))
            for one, other in itertools.combinations(views, 2)
        ),
        # A refusal is seldom valid JSON: in failed rows the model's own answer is looked at.
        refusals=_mean(
            refuses(text if sticker.status == "ok" else f"{text} {sticker.raw or ''}")
            for sticker, text in zip(stickers, wholes, strict=True)
        ),
        wrong_language=_wrong_language((words(text) for text in wholes), scripts),
        own_label=named.own,
        any_label=named.any,
        cosine=_mean(view.cosine for view in by_view.values()),
        views=by_view,
    )


def _view_statistics(
    view: str,
    stickers: Sequence[DescribedSticker],
    tokens: Mapping[str, Sequence[Sequence[str]]],
    cosine: float | None,
    labels: Sequence[str],
    scripts: frozenset[str] | None,
) -> ViewStatistics:
    """Return counts of one view; `tokens` are the words of every sticker's text by view."""
    texts = [sticker.texts[view] for sticker in stickers]
    named = _labels_named(stickers, texts, labels)
    return ViewStatistics(
        filled=_mean(bool(text.strip()) for text in texts),
        words=_mean(len(found) for found in tokens[view] if found),
        distinct=_distinct(texts),
        distinct_1=_distinct_ngrams(tokens[view], 1),
        distinct_2=_distinct_ngrams(tokens[view], 2),
        cosine=cosine,
        overlap=_mean(
            _jaccard(tokens[view][row], tokens[other][row])
            for row in range(len(stickers))
            for other in tokens
            if other != view
        ),
        refusals=_mean(refuses(text) for text in texts),
        wrong_language=_wrong_language(tokens[view], scripts),
        own_label=named.own,
        any_label=named.any,
    )


def mean_cosine(vectors: NDArray[np.float32]) -> float | None:
    """Return the mean cosine over all pairs of different stickers [n, width], those without text left out."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors[length[:, 0] > 0] / length[length[:, 0] > 0]
    count = len(unit)
    if count < 2:
        return None
    # The sum over all pairs is the square of the sum: no [n, n] matrix is needed.
    return float((np.square(unit.sum(axis=0, dtype=np.float64)).sum() - count) / (count * (count - 1)))


def _labels_named(
    stickers: Sequence[DescribedSticker], texts: Sequence[str], labels: Sequence[str]
) -> _LabelsNamed:
    """Share of described stickers whose text names its own label, and any label of the run."""
    if not labels:
        return _LabelsNamed(None, None)
    found = [
        (sticker.label_name, labels_named(text, labels))
        for sticker, text in zip(stickers, texts, strict=True)
        if text.strip()
    ]
    return _LabelsNamed(
        _mean(own in named for own, named in found if own), _mean(bool(named) for _, named in found)
    )


def _wrong_language(texts: Iterable[Sequence[str]], scripts: frozenset[str] | None) -> float | None:
    if scripts is None:
        return None
    return _mean(not fits for found in texts if (fits := in_scripts(found, scripts)) is not None)


def _distinct(texts: Sequence[str]) -> float | None:
    present = [text for text in texts if text.strip()]
    return len(set(present)) / len(present) if present else None


def _distinct_ngrams(texts: Sequence[Sequence[str]], size: int) -> float | None:
    grams = [tuple(found[i : i + size]) for found in texts for i in range(len(found) - size + 1)]
    return len(set(grams)) / len(grams) if grams else None


def _jaccard(one: Sequence[str], other: Sequence[str]) -> float | None:
    """Shared words by all words of two views, None where one is missing."""
    if not one or not other:
        return None
    return len(set(one) & set(other)) / len(set(one) | set(other))


def _mean(values: Iterable[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None
