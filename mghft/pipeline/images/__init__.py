"""Images of a corpus: read inside their root, decoded within limits, in processes that may crash."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "color": ["ImageError"],
        "decode": ["ImageTransform", "decode_bytes", "decode_image", "read_image"],
        "header": ["Header", "read_header"],
        "load": ["Loaded"],
        "parallel": ["map_images"],
        "prefetch": ["ImagePrefetcher"],
    },
)
