"""The data of a training: stickers joined with descriptions, cached images, text features, batches."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "described_images": ["changed_images"],
        "descriptions": [
            "DescribedTexts",
            "Descriptions",
            "check_sources",
            "data_fingerprint",
            "labelled_stickers",
            "read_texts",
        ],
        "image_cache": ["FileImages", "StickerImages"],
        "loader": ["EpochLoader", "leave_signals_to_the_loop"],
        "sampler": [
            "AugmentedStickers",
            "EpochBatches",
            "PlainStickers",
            "eval_transform",
            "mixed_seed",
            "train_transform",
        ],
        "shard_images": ["ShardImages", "shard_corpus"],
        "splits": [
            "LabelledSplit",
            "Split",
            "TrainingData",
            "complete_splits",
            "load_splits",
            "open_corpus",
            "read_splits",
            "resolve_model",
            "views_of",
        ],
        "usable_images": ["check_usable", "open_images"],
        "strict": ["refuse_unusable"],
        "text_features": ["FeatureCache", "features_of", "load_encoder", "text_statistics"],
    },
)
