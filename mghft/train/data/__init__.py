"""The data of a training: stickers joined with descriptions, cached images, text features, batches."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "descriptions": ["Descriptions", "check_sources", "read_texts"],
        "image_cache": ["StickerImages"],
        "loader": ["EpochLoader"],
        "sampler": ["EpochBatches"],
        "shard_images": ["shard_corpus"],
        "splits": ["Split", "load_splits", "open_corpus"],
        "text_features": ["FeatureCache", "load_encoder"],
    },
)
