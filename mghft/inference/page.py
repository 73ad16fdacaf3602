"""Predictions as one self-contained page: pictures, probabilities, views, and what the network looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from mghft.inference.pictures import Picture, read_picture
from mghft.inference.prediction import Prediction
from mghft.pipeline.html import picture_url, write_page
from mghft.pipeline.text import unprintable

if TYPE_CHECKING:
    from mghft.inference.predictor import Predictor
    from mghft.inference.run import PredictOutcome

TEMPLATES = Path(__file__).resolve().parent / "templates"
_THUMBNAIL = 160


def write_predictions_page(path: Path, outcome: PredictOutcome, predictor: Predictor) -> None:
    """Write the page of the predictions that an outcome keeps, as a whole.

    Pictures are read again, one by one: none is in memory but the one that is written.

    Raises:
        OSError: it cannot be written; an earlier page stays.
    """
    inference = predictor.classifier.config
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        "title": path.stem,
        "total": outcome.done + outcome.resumed,
        "shown": len(outcome.shown),
        "weights": predictor.classifier.found.name,
        "corpus": inference.corpus or "an unnamed corpus",
        "calibrated": inference.temperature is not None,
        "temperature": inference.temperature,
        "notes": [*predictor.notes, *outcome.sentences()],
        "by_label": sorted(outcome.by_label.items(), key=lambda item: -item[1]),
        "overlays": predictor.classifier.explains,
        "cards": _cards(outcome.shown, predictor),
    }
    write_page(path, "predictions.html.j2", facts, TEMPLATES)


def _cards(
    shown: Sequence[Prediction], predictor: Predictor
) -> Iterator[tuple[Prediction, str | None, str | None]]:
    for one in shown:
        picture = read_picture(unprintable(one.name))
        if picture.image is None:
            yield one, None, None
            continue
        yield one, _thumbnail(picture.image), _overlay(picture, one, predictor)


def _overlay(picture: Picture, one: Prediction, predictor: Predictor) -> str | None:
    if one.error is not None or not predictor.classifier.explains:
        return None
    return _thumbnail(predictor.overlay(picture, one.views))


def _thumbnail(image: Image.Image) -> str:
    small = image.copy()
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return picture_url(small)
