"""Frozen encoders judged on a corpus: one row for each way of using them, as predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mghft.model.encoders import ImageTextEncoder
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.sticker import Corpus, Sticker, alike
from mghft.pipeline.predictions import prediction_table
from mghft.pipeline.progress import bar
from mghft.pipeline.views import VIEWS
from mghft.train.data.descriptions import check_run_folder, labelled_stickers, labels_of, read_texts
from mghft.train.data.image_cache import FileImages, StickerImages
from mghft.train.data.text_features import FeatureCache, kept, load_encoder
from mghft.train.data.usable_images import check_usable
from mghft.train.encoders.fine_tune import fine_tune
from mghft.train.encoders.linear import fit_probe
from mghft.train.encoders.zero_shot import SINGLE, TEMPLATES, label_vectors, zero_shot
from mghft.train.options import Pooling

Way = Literal["zero-shot", "linear", "image+text", "text", "fine-tune"]
# Fine-tuning takes a training for each seed, so it is done when it is asked for.
UNASKED: tuple[Way, ...] = ("zero-shot", "linear", "image+text", "text")
_TRAIN, _VALIDATION = "train", "validation"
_BATCH = 32


class ProbeConfig(BaseModel):
    """One judgement of frozen encoders."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = Field(default=None, description="image encoder: folder or Hugging Face id")
    card: str = Field(description="data card: a shipped name or a path")
    data: Path = Field(description="root folder of the corpus")
    descriptions: Path | None = Field(default=None, description="run folder of `mghft describe`")
    text_encoder: str = Field(default="minilm", description="BERT-like encoder: id, folder or 'minilm'")
    text_pooling: Pooling = Field(default="last4_masked_mean", description="how it pools its tokens")
    ways: tuple[Way, ...] = Field(
        default=UNASKED, min_length=1, description="which rows; all that are possible but fine-tune"
    )
    seeds: tuple[int, ...] = Field(default=(1, 2, 3), min_length=1, description="of fine-tuning")
    epochs: int = Field(default=10, ge=1, description="of fine-tuning")
    batch_size: int = Field(default=32, ge=1, description="of fine-tuning")
    splits: tuple[str, ...] = Field(default=("validation", "test"), min_length=1, description="to predict")
    out: Path = Field(description="folder of predictions.parquet and probe.json")
    cache_dir: Path = Field(default=Path.home() / ".cache" / "mghft", description="of images and vectors")
    image_side: int = Field(
        default=512, ge=32, description="images are kept with a shorter side of at most this"
    )
    progress: bool = Field(default=True, description="progress bars")

    @model_validator(mode="after")
    def _has_something_to_judge(self) -> ProbeConfig:
        if self.model is None and self.descriptions is None:
            raise ValueError("there is nothing to judge: name an image encoder, or descriptions, or both")
        return self


@dataclass
class Judged:
    """Rows of a judgement.

    Attributes:
        probabilities: by system, then by split, [n, classes].
        trained: the same of systems that are trained, by system and seed.
        facts: by system, what was chosen: the strength of a probe.
        notes: what a reader should know.
    """

    probabilities: dict[str, dict[str, NDArray[np.float64]]] = field(default_factory=dict)
    trained: dict[tuple[str, int], dict[str, NDArray[np.float64]]] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def probe(config: ProbeConfig) -> tuple[Judged, pa.Table]:
    """Judge frozen encoders in every way that is asked for and possible.

    Returns:
        The rows, and the predictions as a table for a predictions file.

    Raises:
        FileNotFoundError, ValueError: something the user gave is wrong; one sentence.
    """
    if config.descriptions is not None:
        check_run_folder(config.descriptions)
    corpus = load_corpus(load_card(config.card), config.data)
    names = list(dict.fromkeys((_TRAIN, _VALIDATION, *config.splits)))
    stickers = {name: labelled_stickers(corpus, name) for name in names}
    opened: dict[str, StickerImages] = {}
    if config.model is not None:
        for name, members in stickers.items():
            images = _open_images(config, corpus.root, members)
            # Every row is of the same stickers: what cannot be decoded is left out of those of texts too.
            stickers[name] = [members[place] for place in check_usable(images, members, name, strict=False)]
            opened[name] = images.without_errors()
    labels = {name: labels_of(members) for name, members in stickers.items()}
    judged = Judged()
    seen = _judge_images(config, corpus, opened, labels, judged) if opened else {}
    _judge_texts(config, corpus, stickers, labels, seen, judged)
    if opened and "fine-tune" in config.ways:
        _fine_tune(config, opened, labels, len(corpus.card.labels), judged)
    if not judged.probabilities and not judged.trained:
        raise ValueError(f"none of {', '.join(config.ways)} is possible here: {'; '.join(judged.notes)}")
    return judged, _table(config, corpus, stickers, judged)


def _judge_images(
    config: ProbeConfig,
    corpus: Corpus,
    images: Mapping[str, StickerImages],
    labels: Mapping[str, NDArray[np.int64]],
    judged: Judged,
) -> dict[str, NDArray[np.float32]]:
    """Judge the image encoder alone; returns its vectors before the projection, by split."""
    assert config.model is not None
    encoder = ImageTextEncoder.from_pretrained(config.model)
    encoder.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    key, classes = encoder.fingerprint(), corpus.card.labels
    features, projected = {}, {}
    for name, pictures in images.items():
        features[name], projected[name] = _image_vectors(config, pictures, encoder, key)
    if "zero-shot" in config.ways:
        if encoder.reads_text:
            for templates, words, title in (
                (TEMPLATES, True, f"{encoder.name}: zero-shot, {len(TEMPLATES)} sentences"),
                (SINGLE, False, f"{encoder.name}: zero-shot, one sentence"),
            ):
                vectors = label_vectors(encoder, classes, templates, words=words)
                judged.probabilities[title] = {
                    name: zero_shot(encoder, projected[name], vectors).numpy() for name in config.splits
                }
        else:
            judged.notes.append(f"{encoder.name} encodes images alone: there is no zero-shot row")
    if "linear" in config.ways:
        plain = {name: rows.numpy() for name, rows in features.items()}
        _add_probe(judged, f"{encoder.name}: linear probe", plain, labels, len(classes))
        if encoder.reads_text:
            flat = {name: rows.flatten(1).numpy() for name, rows in projected.items()}
            _add_probe(judged, f"{encoder.name}: linear probe, projected", flat, labels, len(classes))
    return {name: rows.numpy() for name, rows in features.items()}


def _judge_texts(
    config: ProbeConfig,
    corpus: Corpus,
    stickers: Mapping[str, Sequence[Sticker]],
    labels: Mapping[str, NDArray[np.int64]],
    images: Mapping[str, NDArray[np.float32]],
    judged: Judged,
) -> None:
    """Judge descriptions and the text on the stickers, alone and beside the images."""
    if not {"text", "image+text"} & set(config.ways):
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = load_encoder(config.text_encoder, config.text_pooling, device)
    cache = FeatureCache(
        encoder, pooling=config.text_pooling, folder=config.cache_dir, progress=config.progress
    )
    classes = len(corpus.card.labels)
    printed = {name: [(one.text or "",) for one in members] for name, members in stickers.items()}
    texts: dict[str, dict[str, NDArray[np.float32]]] = {}
    having = sum(bool(row[0].strip()) for rows in printed.values() for row in rows)
    total = sum(map(len, printed.values()))
    if having:
        judged.notes.append(f"{having} of {total} stickers have a text on them; the others' vector is zero")
        texts["text on the sticker"] = _flat({name: cache.features(rows) for name, rows in printed.items()})
    if config.descriptions is not None:
        read = read_texts(config.descriptions, VIEWS)
        described = {name: read.of(list(members)) for name, members in stickers.items()}
        vectors = {name: cache.features(one.texts) for name, one in described.items()}
        for place, view in enumerate(VIEWS):
            if any(one.mask[:, place].any() for one in described.values()):
                texts[view] = _flat({name: rows[:, place : place + 1] for name, rows in vectors.items()})
        texts["all views"] = _flat(vectors)
    if not texts:
        judged.notes.append("there are no texts: no sticker has one on it, and no descriptions were given")
    for title, by_split in texts.items():
        if "text" in config.ways:
            _add_probe(judged, f"text alone: {title}", by_split, labels, classes)
        if images and "image+text" in config.ways and title in ("all views", "text on the sticker"):
            assert config.model is not None
            both = {name: np.concatenate([images[name], rows], axis=1) for name, rows in by_split.items()}
            _add_probe(judged, f"{Path(config.model).name} + text: {title}", both, labels, classes)


def _fine_tune(
    config: ProbeConfig,
    images: Mapping[str, StickerImages],
    labels: Mapping[str, NDArray[np.int64]],
    classes: int,
    judged: Judged,
) -> None:
    """Add a row of the fine-tuned encoder for every seed."""
    assert config.model is not None
    for seed in config.seeds:
        encoder = ImageTextEncoder.from_pretrained(config.model)
        encoder.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        found = fine_tune(
            encoder,
            images,
            labels,
            classes,
            seed=seed,
            epochs=config.epochs,
            batch_size=config.batch_size,
            progress=config.progress,
        )
        title = f"{encoder.name}: fine-tuned"
        judged.trained[title, seed] = found.probabilities
        judged.facts.setdefault(title, {})[f"best epoch, seed {seed}"] = found.best_epoch


def _add_probe(
    judged: Judged,
    title: str,
    vectors: Mapping[str, NDArray[np.float32]],
    labels: Mapping[str, NDArray[np.int64]],
    classes: int,
) -> None:
    found = fit_probe(vectors, labels, classes)
    judged.probabilities[title] = found.probabilities
    judged.facts[title] = {"strength": found.strength, "strengths tried": found.tried}


def _open_images(config: ProbeConfig, root: Path, stickers: Sequence[Sticker]) -> StickerImages:
    return StickerImages(
        FileImages(root, stickers),
        short_side=config.image_side,
        folder=config.cache_dir,
        limit_gb=16.0,
        progress=config.progress,
    )


def _image_vectors(
    config: ProbeConfig, images: StickerImages, encoder: ImageTextEncoder, key: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features [n, D] and projected vectors [n, Q, P] (of no width without texts), kept on disk."""

    def compute(projected: bool) -> torch.Tensor:
        found = []
        with bar("image", "encoding images", config.progress) as advance:
            for start in range(0, len(images), _BATCH):
                rows = range(start, min(start + _BATCH, len(images)))
                vectors = encoder.images([images[row] for row in rows])
                chosen = vectors.projected if projected else vectors.features
                assert chosen is not None
                found.append(chosen)
                advance(rows.stop, len(images))
        return torch.cat(found)

    facts = [key, images.fingerprint()]
    features = kept(config.cache_dir, ["features", *facts], lambda: compute(False))
    if not encoder.reads_text:
        return features, torch.zeros(len(images), 1, 0)
    return features, kept(config.cache_dir, ["projected", *facts], lambda: compute(True))


def _flat(vectors: Mapping[str, torch.Tensor]) -> dict[str, NDArray[np.float32]]:
    return {name: rows.flatten(1).numpy() for name, rows in vectors.items()}


def _table(
    config: ProbeConfig, corpus: Corpus, stickers: Mapping[str, Sequence[Sticker]], judged: Judged
) -> pa.Table:
    classes = corpus.card.labels
    # What is not trained is not drawn either: another seed would give the same.
    rows = {(system, 0): by_split for system, by_split in judged.probabilities.items()} | judged.trained
    return pa.concat_tables(
        prediction_table(
            system=system,
            seed=seed,
            split=name,
            ids=[one.id for one in stickers[name]],
            true=[str(one.label_name) for one in stickers[name]],
            probabilities=by_split[name],
            labels=classes,
            subsets=[one.subset for one in stickers[name]],
            groups=alike(stickers[name]),
        )
        for (system, seed), by_split in rows.items()
        for name in config.splits
    )
