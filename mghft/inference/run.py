"""`mghft predict`: files in, predictions out as they come; of any number in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mghft.inference.files import FoundFiles
from mghft.inference.journal import Format, PredictionJournal
from mghft.inference.pictures import read_pictures
from mghft.inference.prediction import Prediction
from mghft.inference.weights import FoundWeights
from mghft.pipeline.engines.options import EngineOptions
from mghft.pipeline.progress import bar
from mghft.pipeline.text import plural, printable

Show = Callable[[list[Prediction]], None]


class PredictConfig(BaseModel):
    """One command.

    Attributes:
        descriptions: run of `mghft describe` whose views are read; None: none.
        corrections: table laid over them.
        engine: the model that describes; None: none does.
        out: file to write; None: the predictions are only shown.
        pictures_shown: on the page.
        workers: processes that decode images; 0 decodes in this one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: str
    descriptions: Path | None = None
    corrections: Path | None = None
    engine: EngineOptions | None = None
    prompt: str = "multiview"
    use_text: bool = True
    calibrated: bool = True
    text_encoder: str | None = None
    out: Path | None = None
    format: Literal["jsonl", "csv", "parquet"] | None = None
    overwrite: bool = False
    html: Path | None = None
    pictures_shown: int = Field(default=200, ge=1, le=2000)
    batch_size: int = Field(default=32, ge=1, le=1024)
    workers: int = Field(default=1, ge=0, le=256)
    progress: bool = True

    @model_validator(mode="after")
    def _one_source_of_views(self) -> PredictConfig:
        if self.descriptions is not None and self.engine is not None:
            raise ValueError("descriptions and model: views come from one of them, leave the other out")
        if self.corrections is not None and self.descriptions is None:
            raise ValueError("corrections are laid over a run of descriptions: give descriptions too")
        if not self.use_text and (self.descriptions is not None or self.engine is not None):
            raise ValueError("no_text goes with neither descriptions nor a model: leave them out")
        return self


@dataclass
class PredictOutcome:
    """What came out of a command.

    Attributes:
        done: pictures of this call; `resumed` were done before.
        failed: of these, pictures that cannot be read.
        undescribed: of these, pictures whose views are missing although they were to be had.
        shown: the first predictions, for the page; None without one.
    """

    done: int = 0
    resumed: int = 0
    failed: int = 0
    undescribed: int = 0
    by_label: dict[str, int] = field(default_factory=dict)
    shown: list[Prediction] = field(default_factory=list)

    def add(self, predictions: list[Prediction], keep: int) -> None:
        """Count predictions, and keep the first of all."""
        self.done += len(predictions)
        self.failed += sum(one.error is not None for one in predictions)
        self.undescribed += sum(one.describing_error is not None for one in predictions)
        for one in predictions:
            if one.label is not None:
                self.by_label[one.label] = self.by_label.get(one.label, 0) + 1
        self.shown += predictions[: max(0, keep - len(self.shown))]

    def sentences(self) -> Iterator[str]:
        """Yield what has to be said at the end."""
        if self.resumed:
            yield f"{plural(self.resumed, 'picture')} were done before"
        if self.failed:
            yield f"{plural(self.failed, 'picture')} cannot be read: see the column error"
        if self.undescribed:
            yield (
                f"{plural(self.undescribed, 'picture')} have no description (describing_error says why): "
                "judged by the picture alone"
            )


def predict_files(
    config: PredictConfig, found: FoundWeights, files: FoundFiles, show: Show
) -> PredictOutcome:
    """Classify files.

    Args:
        config: the command.
        found: its weights.
        files: what to classify.
        show: takes every batch of predictions once it is kept.

    Returns:
        What came out; with `out`, the file is whole.

    Raises:
        FileNotFoundError, ValueError: something that was given is wrong; one sentence.
        EngineDiedError: the interpreter is gone; with `out`, the same command goes on.
        KeyboardInterrupt: likewise.
    """
    outcome = PredictOutcome()
    with ExitStack() as held:
        journal = None
        if config.out is not None:
            assert config.format is not None
            journal = held.enter_context(closing(_journal(config, found, config.out, config.format)))
            outcome.resumed = journal.resumed
        predictor = held.enter_context(_open_predictor(config, found))
        advance = held.enter_context(bar("picture", "predicting", config.progress))
        paths = (path for path in files.paths if journal is None or printable(str(path)) not in journal)
        batch: list[Prediction] = []
        pictures = held.enter_context(closing(read_pictures(paths, config.workers)))
        for prediction in predictor.stream(pictures, calibrated=config.calibrated):
            batch.append(prediction)
            if len(batch) == config.batch_size:
                _take(batch, journal, outcome, show, config.pictures_shown)
                batch = []
                advance(outcome.done + outcome.resumed, files.total or outcome.done + outcome.resumed)
        _take(batch, journal, outcome, show, config.pictures_shown)
        if journal is not None:
            if config.html is not None and outcome.resumed:
                outcome.shown = _first(journal, config.pictures_shown)
            journal.finish()
        if config.html is not None:
            from mghft.inference.page import write_predictions_page

            write_predictions_page(config.html, outcome, predictor)
    return outcome


def _take(
    batch: list[Prediction],
    journal: PredictionJournal | None,
    outcome: PredictOutcome,
    show: Show,
    keep: int,
) -> None:
    if journal is not None:
        journal.add(batch)
    outcome.add(batch, keep)
    show(batch)


def _open_predictor(config: PredictConfig, found: FoundWeights) -> Any:
    from mghft.inference.classifier import Classifier
    from mghft.inference.predictor import Interpreter, Predictor
    from mghft.inference.saved_views import SavedViews

    interpreter: Interpreter | None = None
    if config.descriptions is not None:
        interpreter = SavedViews(config.descriptions, config.corrections)
    classifier = Classifier(found, text_encoder=config.text_encoder)
    if config.engine is not None:
        from mghft.pipeline.describe.live import LiveDescriber

        interpreter = LiveDescriber.open(config.engine, config.prompt)
    return Predictor(classifier, interpreter, batch_size=config.batch_size)


def _journal(config: PredictConfig, found: FoundWeights, out: Path, form: Format) -> PredictionJournal:
    """Open the journal; its facts are all that decides a row."""
    with (found.folder / "model.safetensors").open("rb") as file:
        weights = hashlib.file_digest(file, "sha256").hexdigest()
    facts = {
        "weights": weights,
        "inference": found.inference.model_dump(mode="json"),
        "descriptions": None if config.descriptions is None else str(config.descriptions.resolve()),
        "engine": None if config.engine is None else config.engine.model_dump(mode="json"),
        "prompt": config.prompt,
        "corrections": None
        if config.corrections is None
        else hashlib.sha256(config.corrections.read_bytes()).hexdigest(),
        "calibrated": config.calibrated,
    }
    labels = found.inference.labels
    return PredictionJournal(out, labels, facts, form=form, overwrite=config.overwrite)


def _first(journal: PredictionJournal, count: int) -> list[Prediction]:
    shown: list[Prediction] = []
    for row in journal.rows():
        if len(shown) == count:
            break
        fields = {name: value for name, value in row.items() if name != "confidence"}
        shown.append(Prediction(**{**fields, "missing_views": tuple(row["missing_views"])}))
    return shown
