"""Images of a corpus: read inside their root, decoded within limits, in processes that may crash."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "color": ["ImageError"],
        "decode": [
            "FORMATS",
            "MAX_FILE_BYTES",
            "decode_bytes",
            "decode_image",
            "read_image",
        ],
        "header": ["Header", "read_header"],
        "load": ["Loaded", "load_image"],
        "parallel": ["map_images"],
        "pool": ["WorkerStartError"],
        "prefetch": ["ImagePrefetcher"],
        "transform": ["ImageTransform"],
        "worker": ["PendingImage"],
    },
)
