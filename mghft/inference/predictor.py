"""The predictor: pictures in, emotions out, with or without a multimodal model that describes them first."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from PIL import Image

from mghft.inference.classifier import Classifier
from mghft.inference.pictures import Picture, Source, read_picture
from mghft.inference.prediction import Prediction
from mghft.inference.weights import FoundWeights, find_weights
from mghft.pipeline.describe.live import LiveDescriber, LiveViews
from mghft.pipeline.engines.model_source import TINY_LLAVA, TINY_LLAVA_IN_MANIFESTS
from mghft.pipeline.engines.options import EngineOptions
from mghft.pipeline.text import did_you_mean
from mghft.pipeline.views import VIEWS
from mghft.train.runs.inference import InferenceConfig

_LOG = logging.getLogger(__name__)
SERVER = "server"
Views = Mapping[str, str | None]


class Interpreter(Protocol):
    """What writes the views of pictures; `LiveDescriber` is one."""

    def describe(
        self, pictures: Sequence[bytes], texts: Sequence[str | None] | None = None
    ) -> list[LiveViews]:
        """Return the views of pictures, in their order; a picture that fails says why."""
        ...

    def close(self) -> None:
        """End what it holds."""
        ...


class Predictor:
    """Classifies stickers; a context manager, which ends the interpreter.

    Example:
        with Predictor.from_pretrained("runs/mghft", interpreter="llava-hf/llava-1.5-7b-hf") as predictor:
            (prediction,) = predictor(["sticker.png"])
            print(prediction.label, prediction.views)

    Attributes:
        labels: names in index order.
        views: that the network reads, in its order; empty where it reads none.
        notes: what should be known before the predictions are used, one sentence each.
    """

    def __init__(
        self, classifier: Classifier, interpreter: Interpreter | None = None, *, batch_size: int = 32
    ) -> None:
        """
        Args:
            classifier: the weights.
            interpreter: describes what comes without views; None: views that are not given are missing.
            batch_size: pictures that are classified together.
        """
        self.classifier, self.interpreter, self.batch_size = classifier, interpreter, batch_size
        self.labels, self.views = classifier.labels, classifier.views
        self.notes = classifier.found.notes

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        interpreter: str | EngineOptions | Interpreter | None = None,
        *,
        server: Mapping[str, Any] | None = None,
        prompt: str | None = None,
        device: str | None = None,
        text_encoder: str | Path | None = None,
        batch_size: int = 32,
        inference: InferenceConfig | None = None,
    ) -> Self:
        """Load weights and, if wanted, start the model that describes pictures.

        Args:
            source: run folder of `mghft train`, folder of weights, or hub id.
            interpreter: model for vLLM in this process ("tiny-llava", a folder, a hub id); "server" for one
                behind an OpenAI-compatible address; engine options; an object of one's own; None: pictures
                come with their views, or are classified without.
            server: with "server": `model`, `base_url` and other fields of `ServerOptions`.
            prompt: prompt pack; None takes the one that the training's descriptions were asked with.
            device: of the network; None takes a GPU where there is one.
            text_encoder: the encoder's place, where it is not found under the name that the weights say.
            batch_size: pictures that are classified together.
            inference: how the weights are used, where their folder does not say it.

        Raises:
            FileNotFoundError, ValueError: something does not exist or go together; one sentence.
        """
        found = find_weights(source, inference)
        options = engine_options(interpreter, server)
        check_goes_together(found, wants_views=options is not None or interpreter is not None)
        classifier = Classifier(found, device=device, text_encoder=text_encoder)
        describer: Interpreter | None
        if options is None:
            assert interpreter is None or not isinstance(interpreter, str | EngineOptions)
            describer = interpreter
        else:
            describer = LiveDescriber.open(options, prompt or pack_of(found))
        return cls(classifier, describer, batch_size=batch_size)

    def __call__(
        self,
        stickers: Sequence[Source] | Iterable[Picture],
        views: Sequence[Views | None] | None = None,
        *,
        texts: Sequence[str | None] | None = None,
        root: Path | None = None,
        calibrated: bool = True,
    ) -> list[Prediction]:
        """Classify stickers, in their order; one that cannot be read says so and costs no other.

        Args:
            stickers: paths, bytes of files, Pillow images, or stickers of a corpus.
            views: text by view of each; a view that is None or "" is missing. What has no mapping is
                described by the interpreter, if there is one.
            texts: what is printed on each, where that is known.
            root: of the corpus, for stickers.
            calibrated: whether probabilities are calibrated by the validation split's temperature.

        Raises:
            ValueError: `views` or `texts` are not as many as the stickers, or name an unknown view.
            EngineDiedError: the interpreter is gone.
        """
        sources = list(stickers)
        for what, given in (("views", views), ("texts", texts)):
            if given is not None and len(given) != len(sources):
                raise ValueError(f"there are {len(sources)} stickers and {len(given)} {what}: give one each")
        for one in views or ():
            check_views(one)
        found: list[Prediction] = []
        for start in range(0, len(sources), self.batch_size):
            stop = min(start + self.batch_size, len(sources))
            began = time.perf_counter()
            pictures = [self._read(sources[place], place, root) for place in range(start, stop)]
            found += self.predict_batch(
                pictures,
                None if views is None else views[start:stop],
                None if texts is None else texts[start:stop],
                calibrated=calibrated,
                began=began,
            )
        return found

    def stream(self, pictures: Iterable[Picture], *, calibrated: bool = True) -> Iterator[Prediction]:
        """Yield predictions of pictures as they come, in their order; a batch is in memory at once."""
        batch: list[Picture] = []
        for picture in pictures:
            batch.append(picture)
            if len(batch) == self.batch_size:
                yield from self.predict_batch(batch, calibrated=calibrated)
                batch = []
        yield from self.predict_batch(batch, calibrated=calibrated)

    def predict_batch(
        self,
        pictures: Sequence[Picture],
        views: Sequence[Views | None] | None = None,
        texts: Sequence[str | None] | None = None,
        *,
        calibrated: bool = True,
        began: float | None = None,
    ) -> list[Prediction]:
        """Classify decoded pictures together; arguments as of a call. `began`: when their decoding did."""
        began = time.perf_counter() if began is None else began
        usable = [place for place, picture in enumerate(pictures) if picture.image is not None]
        printed = [
            pictures[place].text if texts is None or texts[place] is None else texts[place]
            for place in range(len(pictures))
        ]
        given = dict(enumerate(views or ()))
        described = self._describe(pictures, [place for place in usable if given.get(place) is None], printed)
        read = {
            place: described[place].views if place in described else plain_views(given.get(place))
            for place in usable
        }
        probabilities = self.classifier.probabilities(
            [image for place in usable if (image := pictures[place].image) is not None],
            [read[place] for place in usable],
            [printed[place] for place in usable],
            calibrated=calibrated,
        )
        seconds = (time.perf_counter() - began) / max(1, len(pictures))
        rows = dict(zip(usable, probabilities, strict=True))
        return [
            self._prediction(picture, rows[place], read[place], described.get(place), seconds)
            if place in rows
            else Prediction(None, name=picture.name, error=picture.error, seconds=seconds)
            for place, picture in enumerate(pictures)
        ]

    def overlay(
        self, sticker: Source | Picture, views: Views | None = None, *, root: Path | None = None
    ) -> Image.Image:
        """Return what the network looked at, laid over what it saw of a sticker.

        Args:
            sticker: one of those of a call.
            views: that it reads; None: none.
            root: of the corpus, for a sticker of one.

        Raises:
            ValueError: the picture cannot be read, or the network is no MGHFT.
        """
        picture = self._read(sticker, 0, root)
        if picture.image is None:
            raise ValueError(f"{picture.name} cannot be read: {picture.error}")
        check_views(views)
        return self.classifier.overlay(picture.image, plain_views(views) if self.views else None)

    def close(self) -> None:
        """End the interpreter."""
        if self.interpreter is not None:
            self.interpreter.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self, source: Source | Picture, place: int, root: Path | None) -> Picture:
        return source if isinstance(source, Picture) else read_picture(source, place, root)

    def _describe(
        self, pictures: Sequence[Picture], places: Sequence[int], texts: Sequence[str | None]
    ) -> dict[int, LiveViews]:
        if self.interpreter is None or not self.views or not places:
            return {}
        found = self.interpreter.describe(
            [pictures[place].content for place in places], [texts[place] for place in places]
        )
        return dict(zip(places, found, strict=True))

    def _prediction(
        self,
        picture: Picture,
        row: np.ndarray[Any, np.dtype[np.float64]],
        views: Mapping[str, str],
        described: LiveViews | None,
        seconds: float,
    ) -> Prediction:
        return Prediction(
            label=self.labels[int(row.argmax())],
            probabilities=dict(zip(self.labels, row.tolist(), strict=True)),
            views={view: views[view] for view in self.views if view in views},
            missing_views=tuple(view for view in self.views if view not in views),
            seconds=seconds,
            name=picture.name,
            describing_error=None if described is None else described.error,
        )


def engine_options(
    interpreter: str | EngineOptions | Interpreter | None, server: Mapping[str, Any] | None
) -> EngineOptions | None:
    """Return the options of the engine that is to be started; None where none is.

    Raises:
        ValueError: `server` goes with "server" alone, or lacks the model's name or the address.
    """
    if interpreter == SERVER:
        fields = dict(server or {})
        lacking = [name for name in ("model", "base_url") if not fields.get(name)]
        if lacking:
            raise ValueError(
                f"the interpreter 'server' needs {' and '.join(lacking)}: pass server=dict(model=…, "
                "base_url='http://localhost:8000/v1')"
            )
        model = fields.pop("model")
        return EngineOptions.model_validate({"kind": "openai", "model": model, "server": fields})
    if server is not None:
        raise ValueError("server=… goes with interpreter='server'")
    if isinstance(interpreter, str):
        return EngineOptions(model=interpreter)
    return interpreter if isinstance(interpreter, EngineOptions) else None


def check_goes_together(found: FoundWeights, *, wants_views: bool) -> None:
    """Check that weights that read no views are not given a model to write some.

    Raises:
        ValueError: they are.
    """
    if wants_views and found.inference.text is None:
        raise ValueError(
            f"{found.name} reads no descriptions: an interpreter would change nothing, leave it out"
        )


def pack_of(found: FoundWeights) -> str:
    """Return the prompt pack that the training's descriptions were asked with, where it is a shipped one."""
    from mghft.pipeline.prompting.load import pack_names

    text = found.inference.text
    name = None if text is None else text.prompt
    return name if name is not None and name in pack_names() else "multiview"


def describing_model(found: FoundWeights) -> str | None:
    """Return the model that described what the weights were trained on, under the name to start it by."""
    text = found.inference.text
    name = None if text is None else text.described_by
    return TINY_LLAVA if name == TINY_LLAVA_IN_MANIFESTS else name


def check_views(views: Views | None) -> None:
    """Check the names of views; raises ValueError, and says which one is meant."""
    for view in views or ():
        if view not in VIEWS:
            raise ValueError(f"there is no view {view!r}{did_you_mean(view, VIEWS)}")


def plain_views(views: Views | None) -> dict[str, str]:
    """Return the views that have a text."""
    return {view: text for view, text in (views or {}).items() if text is not None and text.strip()}
