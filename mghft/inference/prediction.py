"""What is said of one sticker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Prediction:
    """One sticker's emotion, or why there is none.

    Attributes:
        label: the most probable one; None with an error.
        probabilities: by label, in the order of the labels; calibrated unless asked otherwise. Empty with an
            error.
        views: texts that were read, by view.
        missing_views: views that the network reads and that had no text.
        seconds: the sticker's share of its batch: decoding, describing and classifying.
        name: the path, or the place of what has none ("image 3", from 1).
        error: why there is no prediction, None where there is one.
        describing_error: why the interpreter gave no views; the prediction is then of the picture alone.
    """

    label: str | None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    views: Mapping[str, str] = field(default_factory=dict)
    missing_views: tuple[str, ...] = ()
    seconds: float = 0.0
    name: str = ""
    error: str | None = None
    describing_error: str | None = None

    @property
    def confidence(self) -> float:
        """Return the probability of the label; 0 with an error."""
        return 0.0 if self.label is None else self.probabilities[self.label]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return {
            "name": self.name,
            "label": self.label,
            "confidence": self.confidence if self.label is not None else None,
            "probabilities": dict(self.probabilities),
            "views": dict(self.views),
            "missing_views": list(self.missing_views),
            "seconds": self.seconds,
            "error": self.error,
            "describing_error": self.describing_error,
        }
