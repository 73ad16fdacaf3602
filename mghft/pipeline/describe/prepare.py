"""A run before it begins: what is to be done is decided, nothing is started or written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mghft.pipeline.corpora.selection import Selection
from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.describe.config import RunOptions
from mghft.pipeline.describe.manifest import build_manifest
from mghft.pipeline.describe.requests import PackQuestions, Questions
from mghft.pipeline.engines.factory import engine_facts, find_source, settle_format
from mghft.pipeline.engines.model_source import ModelSource
from mghft.pipeline.engines.options import EngineOptions
from mghft.pipeline.images.decode import ImageTransform
from mghft.pipeline.prompting.pack import PromptPack
from mghft.pipeline.runs.manifest import Manifest, begun_with
from mghft.pipeline.runs.readme import run_card
from mghft.pipeline.runs.status import RunStatus


@dataclass(frozen=True)
class EngineRun(ABC):
    """The stickers that a model is asked about, whatever the questions are, and the folder of their rows.

    Attributes:
        stickers: those of this process, in the order of the corpus.
        engine: its number format is settled.
        options: run folder, worker and limits.
    """

    corpus: Corpus
    stickers: Sequence[Sticker]
    model: ModelSource
    engine: EngineOptions
    image: ImageTransform
    options: RunOptions

    @property
    @abstractmethod
    def questions(self) -> Questions:
        """Return what is asked about every sticker."""

    @property
    @abstractmethod
    def manifest(self) -> Manifest:
        """Return everything that decides the content of the run."""

    @abstractmethod
    def card(self, status: RunStatus) -> str:
        """Return the README.md of the folder."""


@dataclass(frozen=True)
class PreparedRun(EngineRun):
    """A describe run: the questions are a prompt pack's."""

    pack: PromptPack

    @property
    def questions(self) -> Questions:
        """Return those of the pack."""
        return PackQuestions(self.pack)

    @cached_property
    def manifest(self) -> Manifest:
        """Return everything that decides the content of the run."""
        return build_manifest(
            self.corpus,
            self.pack,
            self.model,
            engine_facts(self.engine),
            self.image,
            attempts=self.options.attempts,
            embed_images=self.options.embed_images,
        )

    def card(self, status: RunStatus) -> str:
        """Return the dataset card of the descriptions."""
        return run_card(self.manifest, self.corpus, status)


def prepare_run(
    corpus: Corpus,
    selection: Selection,
    pack: PromptPack,
    engine: EngineOptions,
    image: ImageTransform,
    options: RunOptions,
) -> PreparedRun:
    """Choose the stickers, find the model, and settle the number format.

    A run that was begun keeps its format; one that takes over rows, or belongs to trials, takes theirs.

    Raises:
        FileNotFoundError: the model or the file of ids does not exist, or vLLM is not installed.
        ValueError: the selection names what does not exist.
    """
    stickers = selection.choose(corpus)
    model, settled = settle_engine(engine, options)
    return PreparedRun(corpus, own_share(stickers, options), model, settled, image, options, pack)


def settle_engine(engine: EngineOptions, options: RunOptions) -> tuple[ModelSource, EngineOptions]:
    """Find the model, and settle the number format: the run's, where it was begun.

    Raises:
        FileNotFoundError: the model does not exist, or vLLM is not installed.
    """
    model = find_source(engine)
    begun = begun_with([options.out, *options.reuse], engine.kind)
    return model, settle_format(engine, model, begun)


def own_share(stickers: Sequence[Sticker], options: RunOptions) -> list[Sticker]:
    """Return the stickers of this process."""
    worker = options.worker
    return [sticker for sticker in stickers if worker is None or worker.owns(sticker.id)]
