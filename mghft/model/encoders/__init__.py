"""Encoders of other people: images and texts as vectors, whichever family a checkpoint is of."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "classifier": ["EncoderClassifier"],
        "image_text": ["ImageTextEncoder", "ImageVectors"],
    },
)
