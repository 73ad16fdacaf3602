"""What a training reads: stickers joined with descriptions, cached images, text features, batches."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "descriptions": ["Descriptions", "check_sources", "join_descriptions"],
        "image_cache": ["StickerImages"],
        "loader": ["EpochLoader"],
        "sampler": ["EpochBatches"],
        "shard_images": ["shard_corpus"],
        "splits": ["Split", "load_split", "open_corpus"],
    },
)
