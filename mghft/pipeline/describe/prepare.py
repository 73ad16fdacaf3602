"""A describe run before it begins: what is to be done is decided, nothing is started or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mghft.pipeline.corpora.selection import Selection
from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.describe.config import RunOptions
from mghft.pipeline.describe.manifest import build_manifest
from mghft.pipeline.engines.factory import engine_facts, find_source, settle_format
from mghft.pipeline.engines.model_source import ModelSource
from mghft.pipeline.engines.options import EngineOptions
from mghft.pipeline.images.decode import ImageTransform
from mghft.pipeline.prompting.pack import PromptPack
from mghft.pipeline.runs.manifest import Manifest, begun_with


@dataclass(frozen=True)
class PreparedRun:
    """A prompt pack, the stickers that a model is asked about with it, and the folder of their rows.

    Attributes:
        stickers: those of this process, in the order of the corpus.
        engine: its number format is settled.
        options: run folder, worker and limits.
    """

    corpus: Corpus
    stickers: Sequence[Sticker]
    pack: PromptPack
    model: ModelSource
    engine: EngineOptions
    image: ImageTransform
    options: RunOptions

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
    worker = options.worker
    stickers = [sticker for sticker in selection.choose(corpus) if worker is None or worker.owns(sticker.id)]
    model = find_source(engine)
    begun = begun_with([options.out, *options.reuse], engine.kind)
    settled = settle_format(engine, model, begun)
    return PreparedRun(corpus, stickers, pack, model, settled, image, options)
