"""The images of a training opened, and so cached, before torch is loaded, for `mghft train --strict`."""

from __future__ import annotations

from mghft.model.config import MGHFTConfig
from mghft.model.peers.config import PeerConfig
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.train.config import TrainConfig
from mghft.train.data.usable_images import check_usable, open_images


def refuse_unusable(config: TrainConfig) -> None:
    """Open the images of train and validation, and refuse any that cannot be decoded.

    Images out of shards, a corpus too large to be cached and an overfit check are left to the training.

    Raises:
        ValueError: an image cannot be decoded, or as of `load_corpus`; one sentence.
    """
    if config.images != "files" or config.data is None or config.overfit is not None:
        return
    corpus = load_corpus(load_card(config.card), config.data)
    splits = {name: corpus.split(name) for name in ("train", "validation")}
    fields = dict(config.model)
    preset, size = str(fields.get("preset", "default")), fields.get("image_size")
    if size is None and config.network == "mghft":
        size = MGHFTConfig.preset(preset).image_size
    elif size is None:
        size = PeerConfig.preset(preset, network=config.network).image_size
    images = open_images(splits, corpus.root, config.sources, config.cache, image_size=int(size))
    for name, stickers in splits.items():
        check_usable(images[name], stickers, name, strict=True)
