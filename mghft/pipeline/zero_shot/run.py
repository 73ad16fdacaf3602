"""The zero-shot run: every sticker is asked once with every protocol, then all of them are judged.

Store, scheduler and decoders are those of the describe run, and so are the guarantees: a killed run goes on
where it stopped, a finished one is judged again and asks nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.selection import Selection
from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.describe.estimate import Estimate, estimate
from mghft.pipeline.describe.prepare import EngineRun, own_share, settle_engine
from mghft.pipeline.describe.requests import Questions
from mghft.pipeline.describe.run import execute_run
from mghft.pipeline.engines.base import Engine
from mghft.pipeline.engines.factory import engine_facts, open_engine
from mghft.pipeline.progress import say
from mghft.pipeline.runs.manifest import Manifest, fingerprint
from mghft.pipeline.runs.readme import front_matter
from mghft.pipeline.runs.status import RunStats, RunStatus
from mghft.pipeline.text import plural
from mghft.pipeline.zero_shot.config import ZeroShotConfig
from mghft.pipeline.zero_shot.questions import ZeroShotQuestions
from mghft.pipeline.zero_shot.report import Report, write_report
from mghft.pipeline.zero_shot.wording import LETTERS, prompt_digest


@dataclass(frozen=True)
class ZeroShotResult:
    """A finished run: its statistics, and the report; None while other workers have stickers to do."""

    stats: RunStats
    report: Report | None


@dataclass(frozen=True)
class ZeroShotRun(EngineRun):
    """The labelled stickers of a corpus, asked about by the protocols of this room."""

    asked: ZeroShotQuestions

    @property
    def questions(self) -> Questions:
        """Return those of the protocols."""
        return self.asked

    @cached_property
    def manifest(self) -> Manifest:
        """Return everything that decides the content of the run."""
        asked, model = self.asked, self.model
        digest = prompt_digest(asked.labels)
        manifest: Manifest = {
            "fingerprint": "",
            "format": 1,
            "corpus": {"card": self.corpus.card.name, "sha256": self.corpus.fingerprint()},
            "model": {
                "name": model.name,
                "revision": model.revision,
                "weights_sha256": model.weights_sha256,
                "trust_remote_code": model.trust_remote_code,
            },
            "prompt": {
                "name": "zero-shot",
                "language": "en",
                "sha256": digest,
                "labels": list(asked.labels),
                "text": asked.text,
                "max_tokens": asked.max_tokens,
                "views": {},
            },
            "views": [],
            "schema": {},
            "image": self.image.model_dump(mode="json"),
            "engine": engine_facts(self.engine),
            "attempts": self.options.attempts,
            "embed_images": False,
        }
        manifest["fingerprint"] = fingerprint(manifest)
        return manifest

    def card(self, status: RunStatus) -> str:
        """Return the README.md of the folder."""
        title, model = self.corpus.card.title, self.model.name
        lines = [
            *front_matter(f"Zero-shot answers about {title}"),
            "",
            f"# Zero-shot answers about {title}",
            "",
            f"Written by `mghft zero-shot`: model `{model}`, labels {', '.join(self.asked.labels)}.",
            f"{status['rows']} stickers, {status['ok']} answered, {status['failed']} failed.",
            "The column `raw` holds the answers as JSON; `zero_shot.md` judges them.",
            "",
        ]
        return "\n".join(lines)


def zero_shot(
    config: ZeroShotConfig, *, start_engine: Callable[[], Engine] | None = None
) -> ZeroShotResult | Estimate:
    """Ask a model for the emotions of the chosen stickers, and judge its answers; go on where a run stopped.

    Args:
        config: the run.
        start_engine: starts an engine of one's own when there is work, which the run closes; None starts the
            one of the configuration.

    Returns:
        Statistics and report; of a dry run an estimate, and nothing is written.

    Raises:
        ValueError: no sticker chosen has a label, there are too many labels for letters, bad input, or
            another run in the folder.
        FileNotFoundError, RunLockedError, EngineDiedError, NothingDescribedError, OSError, KeyboardInterrupt:
            as in `mghft.pipeline.describe.describe`.
    """
    corpus = load_corpus(load_card(config.corpus.card), config.corpus.data)
    config = config.model_copy(update={"selection": _with_default(config.selection, corpus)})
    stickers = _labelled(config.selection.choose(corpus), corpus)
    run = _prepare(config, corpus, stickers)
    start = start_engine or partial(open_engine, run.model, run.engine, share_images=True)
    if config.run.dry_run:
        return estimate(run, lambda: closing(start()), seed=config.selection.seed)
    stats = execute_run(run, lambda: closing(start()))
    return ZeroShotResult(stats, write_report(config, run.manifest, stickers, stats))


def _prepare(config: ZeroShotConfig, corpus: Corpus, stickers: Sequence[Sticker]) -> ZeroShotRun:
    labels = tuple(corpus.card.labels)
    if not 2 <= len(labels) <= len(LETTERS):
        raise ValueError(
            f"the corpus {corpus.card.name} has {plural(labels, 'label')}: zero-shot classification asks for "
            f"one of 2 to {len(LETTERS)}"
        )
    questions = ZeroShotQuestions(labels, config.text, config.max_tokens)
    model, engine = settle_engine(config.engine, config.run)
    return ZeroShotRun(
        corpus, own_share(stickers, config.run), model, engine, config.image, config.run, questions
    )


def _with_default(selection: Selection, corpus: Corpus) -> Selection:
    """Leave out train, from which nothing is learnt here, unless a split or stickers are named."""
    named = selection.split is not None or selection.ids is not None
    splits = {sticker.split for sticker in corpus.stickers}
    if named or len(splits) < 2 or "train" not in splits:
        return selection
    if any(condition.startswith("split") for condition in selection.where):
        return selection
    return selection.model_copy(update={"where": (*selection.where, "split!=train")})


def _labelled(stickers: Sequence[Sticker], corpus: Corpus) -> list[Sticker]:
    labelled = [sticker for sticker in stickers if sticker.label_name is not None]
    if not labelled:
        raise ValueError(
            f"none of {plural(stickers, 'sticker')} of {corpus.card.name} chosen has a label, and answers "
            "are judged by labels: choose others, or describe them with `mghft describe`"
        )
    if len(labelled) < len(stickers):
        say(f"{plural(len(stickers) - len(labelled), 'sticker')} without a label are left out")
    return labelled
