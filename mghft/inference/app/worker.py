"""The model in a process of its own: whatever kills it costs the requests that it held, not the service."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from mghft.inference.app.settings import ServeConfig

# From the end of the pipe to the end of the process.
_GRACE = 5.0


@dataclass(frozen=True)
class Item:
    """One sticker of a request, as it goes to the model.

    Attributes:
        content: bytes of its file.
        views: texts by view, None or "" for one that is taken away; None: the describing model writes them.
        text: printed on it.
        overlay: whether what the network looked at is wanted as a PNG.
    """

    name: str
    content: bytes
    views: Mapping[str, str | None] | None = None
    text: str | None = None
    overlay: bool = False


class WorkerDiedError(RuntimeError):
    """The model's process ended while it held a batch."""


class ModelWorker:
    """The process and its pipe; used by one batch at a time, from any thread."""

    def __init__(self, config: ServeConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._process: Any = None
        self._pipe: Connection | None = None
        self.starts = 0

    @property
    def pid(self) -> int | None:
        """Return the number of the process; None where there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> dict[str, Any]:
        """Start the process and wait until the model is loaded; return what it says of itself.

        Raises:
            ValueError: the weights or the model cannot be loaded; one sentence.
            WorkerDiedError: it ended meanwhile.
        """
        with self._lock:
            self._end()
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(
                target=run_worker, args=(theirs, self._config.model_dump(mode="json")), name="mghft-model"
            )
            self._process.start()
            theirs.close()
            self.starts += 1
            answer = self._receive()
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer

    def predict(self, items: Sequence[Item]) -> list[dict[str, Any]]:
        """Classify a batch: per item the fields of `Prediction.to_dict`, and `overlay` as a PNG's bytes.

        Raises:
            WorkerDiedError: the process ended, or its engine did.
        """
        with self._lock:
            if self._pipe is None:
                raise WorkerDiedError
            try:
                self._pipe.send(list(items))
            except OSError:
                raise WorkerDiedError from None
            answer = self._receive()
        if "fatal" in answer:
            raise WorkerDiedError
        found: list[dict[str, Any]] = answer["predictions"]
        return found

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _receive(self) -> dict[str, Any]:
        assert self._pipe is not None
        try:
            answer: dict[str, Any] = self._pipe.recv()
        except (EOFError, OSError):
            raise WorkerDiedError from None
        return answer

    def _end(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self._process is not None:
            self._process.join(_GRACE)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
            self._process = None


def run_worker(pipe: Connection, fields: Mapping[str, Any]) -> None:
    """Load the model, then answer batches until the other end of the pipe is closed."""
    # Ctrl-C goes to the whole group: the service lets running requests end and closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    config = ServeConfig.model_validate(fields)
    try:
        predictor = _open(config)
    except (ValueError, OSError) as error:
        pipe.send({"error": str(error)})
        return
    classifier = predictor.classifier
    pipe.send(
        {
            "labels": list(predictor.labels),
            "views": list(predictor.views),
            "reads_own_text": classifier.reads_own_text,
            "describes": predictor.interpreter is not None,
            "explains": classifier.explains,
            "calibrated": classifier.config.temperature is not None,
            "corpus": classifier.config.corpus,
            "weights": classifier.found.name,
        }
    )
    from mghft.pipeline.errors import EngineDiedError

    with contextlib.closing(predictor), contextlib.suppress(EOFError, OSError):
        while True:
            items = pipe.recv()
            try:
                pipe.send({"predictions": predict_items(predictor, items, config.max_pixels)})
            except EngineDiedError as error:
                pipe.send({"fatal": str(error)})
                return


def predict_items(predictor: Any, items: Sequence[Item], max_pixels: int) -> list[dict[str, Any]]:
    """Classify a batch in this process."""
    import dataclasses

    from mghft.inference.classifier import png
    from mghft.inference.pictures import read_picture

    pictures = [
        dataclasses.replace(read_picture(item.content, max_pixels=max_pixels), name=item.name)
        for item in items
    ]
    found = predictor.predict_batch(pictures, [item.views for item in items], [item.text for item in items])
    rows = []
    for item, picture, prediction in zip(items, pictures, found, strict=True):
        row = prediction.to_dict()
        if item.overlay and prediction.error is None and predictor.classifier.explains:
            row["overlay"] = png(predictor.overlay(picture, prediction.views))
        rows.append(row)
    return rows


def _open(config: ServeConfig) -> Any:
    from mghft.inference.predictor import Predictor

    return Predictor.from_pretrained(
        config.weights,
        config.engine,
        prompt=config.prompt,
        text_encoder=config.text_encoder,
        batch_size=config.max_batch,
    )
