"""What can be counted on descriptions without labels learnt: answers, length, distinctness, slips."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mghft.train.probing.lexicon import in_scripts, labels_named, refuses, scripts_of, words

Row = dict[str, Any]


def count_texts(
    rows: Sequence[Row], features: NDArray[np.float32], views: Sequence[str], language: str
) -> dict[str, Any]:
    """Counts of one run.

    Args:
        rows: of the run, failed ones included.
        features: [n, V, width] of the encoder, in the order of rows and views; zeros where a view is missing.
        views: names of the columns.
        language: the prompt pack's.

    Returns:
        Whole numbers for answers, means and shares from 0 to 1 for the rest; None where there is nothing to
        count (no text, no label, a language of unknown script). `views` holds the same for every view.
    """
    labels = sorted({row["label_name"] for row in rows if row["label_name"]})
    scripts = scripts_of(language)
    tokens = {view: [words(row[view] or "") for row in rows] for view in views}
    answers = Counter(row["status"] for row in rows)
    wholes = [" ".join(row[view] or "" for view in views) for row in rows]
    together = {
        "rows": len(rows),
        "ok": answers["ok"],
        "ok_share": answers["ok"] / len(rows),
        "finish_reasons": dict(Counter(row["finish_reason"] or "unknown" for row in rows).most_common()),
        "prompt_tokens": _mean(row["prompt_tokens"] for row in rows),
        "output_tokens": _mean(row["output_tokens"] for row in rows),
        "words": _mean(len(words(text)) for text in wholes if text.strip()),
        "distinct": _distinct(wholes),
        "overlap": _mean(
            overlap
            for number in range(len(rows))
            for one, other in itertools.combinations(views, 2)
            if (overlap := _jaccard(tokens[one][number], tokens[other][number])) is not None
        ),
        # A refusal is seldom valid JSON: in failed rows the model's own answer is looked at.
        "refusals": _mean(
            refuses(text if row["status"] == "ok" else f"{text} {row['raw'] or ''}")
            for row, text in zip(rows, wholes, strict=True)
        ),
        "wrong_language": _wrong((words(text) for text in wholes), scripts),
        **_given_away(rows, wholes, labels),
    }
    by_view = {}
    for place, view in enumerate(views):
        texts = [row[view] or "" for row in rows]
        by_view[view] = {
            "filled": _mean(bool(text.strip()) for text in texts),
            "words": _mean(len(found) for found in tokens[view] if found),
            "distinct": _distinct(texts),
            "distinct_1": _ngrams(tokens[view], 1),
            "distinct_2": _ngrams(tokens[view], 2),
            "cosine": mean_cosine(features[:, place]),
            "overlap": _mean(
                overlap
                for number in range(len(rows))
                for other in views
                if other != view
                and (overlap := _jaccard(tokens[view][number], tokens[other][number])) is not None
            ),
            "refusals": _mean(refuses(text) for text in texts),
            "wrong_language": _wrong(tokens[view], scripts),
            **_given_away(rows, texts, labels),
        }
    return {**together, "cosine": _mean(v["cosine"] for v in by_view.values()), "views": by_view}


def mean_cosine(vectors: NDArray[np.float32]) -> float | None:
    """Mean cosine over all pairs of different stickers, [n, width]; stickers without text left out."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors[length[:, 0] > 0] / length[length[:, 0] > 0]
    count = len(unit)
    if count < 2:
        return None
    # The sum over all pairs is the square of the sum: no [n, n] matrix is needed.
    return float((np.square(unit.sum(axis=0, dtype=np.float64)).sum() - count) / (count * (count - 1)))


def _given_away(rows: Sequence[Row], texts: Sequence[str], labels: Sequence[str]) -> dict[str, float | None]:
    """Share of described stickers whose text names its own label, and any label of the run."""
    found = [
        (row["label_name"], labels_named(text, labels))
        for row, text in zip(rows, texts, strict=True)
        if text.strip()
    ]
    if not labels:
        return {"own_label": None, "any_label": None}
    return {
        "own_label": _mean(own in named for own, named in found if own),
        "any_label": _mean(bool(named) for _, named in found),
    }


def _wrong(texts: Iterable[Sequence[str]], scripts: frozenset[str] | None) -> float | None:
    if scripts is None:
        return None
    return _mean(not fits for found in texts if (fits := in_scripts(found, scripts)) is not None)


def _distinct(texts: Sequence[str]) -> float | None:
    there = [text for text in texts if text.strip()]
    return len(set(there)) / len(there) if there else None


def _ngrams(texts: Sequence[Sequence[str]], size: int) -> float | None:
    """Different runs of `size` words by all (distinct-n, Li et al., NAACL 2016); falls with more texts."""
    grams = [tuple(found[i : i + size]) for found in texts for i in range(len(found) - size + 1)]
    return len(set(grams)) / len(grams) if grams else None


def _jaccard(one: Sequence[str], other: Sequence[str]) -> float | None:
    """Shared words by all words of two views, None where one is missing."""
    if not one or not other:
        return None
    return len(set(one) & set(other)) / len(set(one) | set(other))


def _mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None
