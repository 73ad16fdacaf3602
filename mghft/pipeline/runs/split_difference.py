"""Whether a run's rows say other splits than the corpus does today: splits may be made after describing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mghft.pipeline.corpora.sticker import Corpus, count_splits
from mghft.pipeline.runs.shards import iterate_shards
from mghft.pipeline.text import plural


def split_difference(folder: Path, corpus: Corpus) -> str | None:
    """Return a sentence on the rows whose split is not that of the corpus, None where all agree.

    Rows of no sticker of the corpus are none of its business.

    Args:
        folder: the run; its shards must be readable.
        corpus: with the splits of today.
    """
    now = {sticker.id: sticker.split for sticker in corpus.stickers}
    rows: Counter[str] = Counter()
    corpus_splits: Counter[str] = Counter()
    different = 0
    for _, table in iterate_shards(folder, ["sticker_id", "split"]):
        columns = (table.column(name).to_pylist() for name in ("sticker_id", "split"))
        for sticker_id, split in zip(*columns, strict=True):
            if sticker_id in now:
                rows[split] += 1
                corpus_splits[now[sticker_id]] += 1
                different += split != now[sticker_id]
    if not different:
        return None
    return (
        f"{plural(different, 'row')} of {folder} say another split than the corpus {corpus.card.name} "
        f"(rows: {count_splits(rows)}; corpus: {count_splits(corpus_splits)})"
    )
