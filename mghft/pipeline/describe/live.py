"""Pictures described at once, without a corpus or a run folder: for whoever classifies what comes along.

The same prompt packs, engines and parsing as in a run; nothing is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.describe.requests import PackQuestions
from mghft.pipeline.describe.scheduler import RequestScheduler
from mghft.pipeline.engines.base import Engine
from mghft.pipeline.engines.factory import find_source, open_engine, settle_format
from mghft.pipeline.engines.options import EngineOptions
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import decode_bytes
from mghft.pipeline.images.load import Loaded
from mghft.pipeline.images.transform import ImageTransform
from mghft.pipeline.images.worker import PendingImage
from mghft.pipeline.prompting.load import load_pack
from mghft.pipeline.prompting.pack import PromptPack
from mghft.pipeline.text import valid_utf8
from mghft.pipeline.views import VIEWS

# Of which a model that fails once writes most on the second try.
_ATTEMPTS = 2


@dataclass(frozen=True)
class LiveViews:
    """The views of one picture, or why there are none.

    Attributes:
        views: text by view; empty where the model gave none that can be read.
        error: the reason, None where there are views.
    """

    views: Mapping[str, str]
    error: str | None = None


class LiveDescriber:
    """A running model that describes pictures as they come; a context manager, which ends the engine.

    Args:
        engine: running; it is closed with the describer.
        pack: the words that it is asked with.
        image: how pictures are decoded for it.
        attempts: how often a picture is asked about at most.
    """

    def __init__(
        self,
        engine: Engine,
        pack: PromptPack,
        *,
        image: ImageTransform | None = None,
        attempts: int = _ATTEMPTS,
    ) -> None:
        self._engine, self.pack, self._attempts = engine, pack, attempts
        self._image = image or ImageTransform()

    @classmethod
    def open(
        cls, engine: EngineOptions, prompt: str = "multiview", *, image: ImageTransform | None = None
    ) -> Self:
        """Start a model.

        Args:
            engine: which model, and how it is started or asked.
            prompt: name or path of a prompt pack.
            image: how pictures are decoded for it; None as `mghft describe` does.

        Raises:
            FileNotFoundError, ValueError: there is no such model or pack, or it cannot be started.
        """
        pack = load_pack(prompt)
        source = find_source(engine)
        settled = settle_format(engine, source)
        started = open_engine(
            source, settled, share_images=pack.shares_images, system=pack.system, sampling=pack.sampling
        )
        return cls(started, pack, image=image)

    def describe(
        self, pictures: Sequence[bytes], texts: Sequence[str | None] | None = None
    ) -> list[LiveViews]:
        """Describe pictures, in their order; one that fails says why and costs no other.

        Args:
            pictures: bytes of image files.
            texts: what is printed on each, where that is known.

        Raises:
            EngineDiedError: the engine is gone.
        """
        stickers = [
            Sticker(str(place), str(place), "all", text=None if texts is None else texts[place])
            for place in range(len(pictures))
        ]
        scheduler = RequestScheduler(
            self._engine,
            PackQuestions(self.pack),
            _InMemory(pictures, self._image),
            attempts=self._attempts,
        )
        found: dict[str, LiveViews] = {}
        for rows in scheduler.rows(stickers):
            for row in rows:
                views = {view: str(row[view]) for view in VIEWS if row.get(view)}  # type: ignore[literal-required]
                failed = row["status"] != "ok"
                found[row["sticker_id"]] = LiveViews(
                    {} if failed else views, row["error"] if failed else None
                )
        return [found[sticker.id] for sticker in stickers]

    def close(self) -> None:
        """End the engine."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _InMemory:
    """Pictures at hand as a scheduler wants them: decoded when their turn comes."""

    def __init__(self, pictures: Sequence[bytes], transform: ImageTransform) -> None:
        self._pictures, self._decode = pictures, partial(decode_bytes, transform=transform)

    def submit(self, path: str) -> PendingImage:
        return PendingImage(path)

    def done(self, image: PendingImage) -> bool:
        return True

    def result(self, image: PendingImage) -> Loaded:
        content = self._pictures[int(image.path)]
        sha256 = hashlib.sha256(content).hexdigest()
        try:
            return Loaded(self._decode(content), sha256, None)
        except ImageError as error:
            return Loaded(None, sha256, None, valid_utf8(str(error)))

    def poll(self) -> None:
        """Do nothing: there is nobody else."""
