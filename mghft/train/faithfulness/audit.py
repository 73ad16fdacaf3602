"""`mghft audit`: each view against its picture, another run, its label's words, and the other views."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mghft.model.encoders import ImageTextEncoder
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.progress import bar
from mghft.pipeline.views import VIEWS
from mghft.train.data.descriptions import check_run_folder, read_texts
from mghft.train.data.image_cache import FileImages, StickerImages
from mghft.train.data.text_features import FeatureCache, load_encoder
from mghft.train.faithfulness.ranks import Control, agreement_ranks, control_scores, picture_ranks
from mghft.train.probing.lexicon import labels_named

_BATCH = 32


class AuditConfig(BaseModel):
    """One audit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: Path = Field(description="run folder of `mghft describe`")
    card: str = Field(description="data card of its corpus")
    data: Path = Field(description="root folder of the corpus")
    encoder: str = Field(description="CLIP-like encoder with texts: folder or Hugging Face id")
    other: Path | None = Field(
        default=None, description="another run of the same stickers: seed, prompt or model"
    )
    text_encoder: str = Field(default="minilm", description="for the agreement with the other run")
    cache_dir: Path = Field(default=Path.home() / ".cache" / "mghft", description="of images and vectors")
    image_side: int = Field(
        default=512, ge=32, description="images are kept with a shorter side of at most this"
    )
    progress: bool = Field(default=True, description="progress bars")


@dataclass(frozen=True)
class ViewAudit:
    """One view over all stickers that have it.

    Attributes:
        texts: how many there are, and how many distinct ones.
        picture_rank: mean share of other stickers whose text fits the picture worse; .5 is chance; None where
            all texts are the same.
        worse_than_chance: share of stickers below .5.
        agreement_rank: mean rank of the other run's text of the same sticker; None without another run.
        names_label: share of texts that name the sticker's own label.
        names_other: share that name another label and not the own one.
        control: mean logits of own texts and of three that are known to be worse: does the encoder judge?
        contradicts: share that name labels of which another view, or the text on the sticker, names none.
    """

    view: str
    texts: int
    distinct: int
    picture_rank: float | None
    worse_than_chance: float
    agreement_rank: float | None
    names_label: float
    names_other: float
    contradicts: float
    control: Control | None


@dataclass(frozen=True)
class WorstText:
    """A text that fits its picture worst among those of its view."""

    sticker_id: str
    path: str
    view: str
    text: str
    picture_rank: float


@dataclass(frozen=True)
class Audit:
    """Everything that an audit found.

    Attributes:
        rows: of the sidecar.
        worst: of all views, the worst first.
        notes: what a reader should know.
    """

    encoder: str
    stickers: int
    views: list[ViewAudit]
    worst: list[WorstText]
    rows: list[dict[str, object]]
    notes: list[str]


def audit(config: AuditConfig) -> Audit:
    """Audit the descriptions of a run.

    Raises:
        FileNotFoundError, ValueError: something the user gave is wrong, or the encoder reads no texts.
    """
    for folder in filter(None, (config.run, config.other)):
        check_run_folder(folder)
    described = read_texts(config.run, VIEWS)
    corpus = load_corpus(load_card(config.card), config.data)
    stickers = [one for one in corpus.stickers if described.by_id.get(one.id) is not None]
    if not stickers:
        raise ValueError(f"{config.run} has no description of a sticker of {config.card} in {config.data}")
    encoder = ImageTextEncoder.from_pretrained(config.encoder)
    if not encoder.reads_text:
        raise ValueError(f"{encoder.name} encodes images alone: an audit needs texts in the same space")
    encoder.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    stickers, projected, notes = _encode_images(config, stickers, encoder, corpus.root)
    texts = {
        view: [(described.by_id[one.id] or ("",) * len(VIEWS))[place] for one in stickers]
        for place, view in enumerate(VIEWS)
    }
    labels = corpus.card.labels
    named = {view: [labels_named(text, labels) for text in column] for view, column in texts.items()}
    named_on = [labels_named(one.text or "", labels) for one in stickers]
    agreement = _agreement(config, stickers, texts)
    views, rows, worst = [], [], []
    for view in VIEWS:
        column = texts[view]
        there = np.array([bool(text.strip()) for text in column])
        if not there.any():
            continue
        ranks = picture_ranks(encoder, projected, column)
        own = np.array([one.label_name in found for one, found in zip(stickers, named[view], strict=True)])
        other = np.array([bool(found) for found in named[view]]) & ~own
        against = _contradicts(view, named, named_on)
        agreed = agreement.get(view)
        views.append(
            ViewAudit(
                view=view,
                texts=int(there.sum()),
                distinct=len(set(column) - {""}),
                picture_rank=_mean(ranks),
                worse_than_chance=float((ranks[there] < 0.5).mean()),
                agreement_rank=None if agreed is None else _mean(agreed),
                names_label=float(own[there].mean()),
                names_other=float(other[there].mean()),
                contradicts=float(against[there].mean()),
                control=control_scores(encoder, projected, column, seed=0),
            )
        )
        for place, one in enumerate(stickers):
            if there[place]:
                rank = None if np.isnan(ranks[place]) else float(ranks[place])
                rows.append(
                    {
                        "sticker_id": one.id,
                        "view": view,
                        "picture_rank": rank,
                        "agreement_rank": None
                        if agreed is None or np.isnan(agreed[place])
                        else float(agreed[place]),
                        "names_label": bool(own[place]),
                        "contradicts": bool(against[place]),
                        "encoder": encoder.name,
                    }
                )
                if rank is not None:
                    worst.append(WorstText(one.id, one.path, view, column[place], rank))
    worst.sort(key=lambda one: one.picture_rank)
    notes += list(_doubts(encoder.name, views))
    return Audit(encoder.name, len(stickers), views, worst, rows, notes)


def _doubts(encoder: str, views: Sequence[ViewAudit]) -> Iterator[str]:
    """Yield a sentence per way in which the encoder fails on texts whose order is known, naming the views."""
    controls = [(one.view, one.control) for one in views if one.control is not None]
    if blind := [view for view, control in controls if control.own <= control.others]:
        yield (
            f"{encoder} puts other stickers' texts above the own ones ({', '.join(blind)}): the texts are "
            "wrong or it is no judge of these pictures, and its ranks cannot tell which"
        )
    jumbled = [
        view
        for view, control in controls
        if control.own <= control.shuffled or control.others <= control.others_shuffled
    ]
    if jumbled:
        yield (
            f"{encoder} does not put texts above their own words in another order ({', '.join(jumbled)}): "
            "it reads words there, not sentences"
        )


def _encode_images(
    config: AuditConfig, stickers: Sequence[Sticker], encoder: ImageTextEncoder, root: Path
) -> tuple[list[Sticker], torch.Tensor, list[str]]:
    """Return the stickers whose image can be decoded, their projected vectors [n, Q, P], and notes."""
    images = StickerImages(
        FileImages(root, stickers),
        short_side=config.image_side,
        folder=config.cache_dir,
        limit_gb=16.0,
        progress=config.progress,
    )
    usable = [one for place, one in enumerate(stickers) if place not in images.errors]
    notes = []
    if images.errors:
        notes.append(f"{len(images.errors)} images cannot be decoded and are left out")
    images = images.without_errors()
    found = []
    with bar("image", "encoding images", config.progress) as advance:
        for start in range(0, len(images), _BATCH):
            rows = range(start, min(start + _BATCH, len(images)))
            vectors = encoder.images([images[row] for row in rows]).projected
            assert vectors is not None
            found.append(vectors)
            advance(rows.stop, len(images))
    return usable, torch.cat(found), notes


def _agreement(
    config: AuditConfig, stickers: Sequence[Sticker], texts: Mapping[str, Sequence[str]]
) -> dict[str, NDArray[np.float64]]:
    """Return the rank of the other run's text of the same sticker, by view; nothing without another run."""
    if config.other is None:
        return {}
    other = read_texts(config.other, VIEWS)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = load_encoder(config.text_encoder, "last4_masked_mean", device)
    cache = FeatureCache(encoder, pooling=encoder.pooling, folder=config.cache_dir, progress=config.progress)
    found = {}
    for place, view in enumerate(VIEWS):
        theirs = [(other.by_id.get(one.id) or ("",) * len(VIEWS))[place] for one in stickers]
        there = np.array([bool(a.strip() and b.strip()) for a, b in zip(texts[view], theirs, strict=True)])
        if there.any():
            first = cache.features([(text,) for text in texts[view]])[:, 0]
            second = cache.features([(text,) for text in theirs])[:, 0]
            found[view] = agreement_ranks(first, second, theirs, there)
    return found


def _mean(ranks: NDArray[np.float64]) -> float | None:
    return None if np.isnan(ranks).all() else float(np.nanmean(ranks))


def _contradicts(
    view: str, named: Mapping[str, Sequence[set[str]]], on_sticker: Sequence[set[str]]
) -> NDArray[np.bool_]:
    """Return whether a view names labels and another view, or the text on the sticker, only other ones."""
    found = np.zeros(len(on_sticker), dtype=np.bool_)
    others = [column for name, column in named.items() if name != view] + [list(on_sticker)]
    for column in others:
        for place, (mine, theirs) in enumerate(zip(named[view], column, strict=True)):
            found[place] |= bool(mine and theirs and not mine & theirs)
    return found
