"""Trained weights in use: a predictor for pictures of any origin, for files in bulk, and for a service."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "classifier": ["Classifier"],
        "pictures": ["Picture", "read_picture", "read_pictures"],
        "prediction": ["Prediction"],
        "predictor": ["Interpreter", "Predictor"],
        "weights": ["FoundWeights", "find_weights"],
    },
)
