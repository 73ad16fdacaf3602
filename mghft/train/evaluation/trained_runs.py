"""Runs that an evaluation reads, and how; needs no torch, so that a slip is answered at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mghft.model.peers.config import TopicContext
from mghft.pipeline.settings import build, given
from mghft.pipeline.text import near_paths
from mghft.train.config import TrainConfig, build_config
from mghft.train.options import Pooling, ViewTexts
from mghft.train.runs.files import read_json

# Fields of an evaluation that a run folder knows itself.
_OF_MODELS = ("card", "text_encoder", "text_pooling", "view_texts")
PEER_NAMES = {
    "pvt": "PVT",
    "pvt-bert": "PVT + BERT",
    "lora-v": "LORA-V",
    "lora": "LORA",
    "tgca-pvt": "TGCA-PVT",
}
WITH_TEXT, WITHOUT_TEXT = "MGHFT", "MGHFT without text"
# The one network with a topic context, and what it is where nothing is said.
_READS_TOPIC, _CONTEXT_OF_ITS_OWN = "tgca-pvt", "self"


class EvalConfig(BaseModel):
    """One evaluation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: tuple[Path, ...] = Field(default=(), description="run folders of `mghft train`")
    model: Path | None = Field(default=None, description="a model folder, as `mghft convert` writes it")
    out: Path = Field(description="folder of the report")
    splits: tuple[str, ...] = Field(
        default=("validation", "test"), min_length=1, description="splits to evaluate"
    )
    card: str | None = Field(default=None, description="with model: the corpus")
    data: Path | None = Field(default=None, description="root of the corpus, if it is elsewhere now")
    descriptions: Path | None = Field(
        default=None, description="run folder of descriptions, if it is elsewhere now"
    )
    corrections: Path | None = Field(
        default=None, description="CSV of corrections laid over the descriptions, in place of the run's own"
    )
    text_encoder: str | None = Field(default=None, description="with model: the encoder of its texts")
    text_pooling: Pooling | None = Field(default=None, description="with model: how token states are pooled")
    view_texts: ViewTexts | None = Field(default=None, description="with model: what every view reads")
    cache_dir: Path | None = Field(default=None, description="cache, if another than the run's")
    topic_contexts: tuple[TopicContext, ...] = Field(
        default=(), description="topic contexts in which TGCA-PVT is judged; none: the run's own"
    )
    stickers_shown: int = Field(default=48, ge=0, description="stickers of the last split in index.html")
    bootstrap_rounds: int = Field(default=2000, ge=100, description="of the 95 % intervals")
    seed: int = Field(default=0, ge=0, description="of the bootstrap and of the stickers shown")
    late_fusion: bool = Field(
        default=True,
        description="regression on vectors of texts and images; the run without text reads train for it",
    )
    batch_size: int = Field(default=64, ge=1, description="stickers at a time")
    workers: int | None = Field(default=None, ge=0, description="processes that read images; null: the run's")
    num_threads: int | None = Field(default=None, ge=1, description="threads of torch on CPU")

    @property
    def moved(self) -> dict[str, Any]:
        """Fields of the runs' own configurations that are replaced: folders that lie elsewhere, workers."""
        names = ("data", "descriptions", "corrections", "cache_dir", "workers")
        return given({name: getattr(self, name) for name in names})

    @property
    def judged_on(self) -> dict[str, Any]:
        """Fields of a training configuration that tell what the model folder is judged on."""
        names = ("card", "text_encoder", "text_pooling", "view_texts")
        return {**self.moved, **given({name: getattr(self, name) for name in names})}

    @model_validator(mode="after")
    def _has_something_to_judge(self) -> EvalConfig:
        if not self.runs and self.model is None:
            raise ValueError("there is nothing to evaluate: name run folders, or a model folder (model)")
        if self.model is None and (extra := [name for name in _OF_MODELS if getattr(self, name) is not None]):
            raise ValueError(f"{extra[0]} goes with a model folder (model): a run knows its own")
        return self


@dataclass(frozen=True)
class TrainedRun:
    """A trained run, or a model folder.

    Attributes:
        name: what the report calls its system.
        config: what it was trained with; of a model folder, what it is judged on.
        weights: folder of the model.
    """

    folder: Path
    name: str
    config: TrainConfig
    labels: tuple[str, ...]
    weights: Path

    @property
    def was_trained(self) -> bool:
        """Whether this is a run folder, which knows how it was trained; a model folder does not."""
        return self.weights != self.folder


def build_eval_config(fields: dict[str, Any]) -> EvalConfig:
    """Validate fields as an evaluation.

    Raises:
        ValueError: a field is unknown, missing or wrong; one sentence that names it.
    """
    return build(EvalConfig, fields, what="the evaluation")


def system_name(config: TrainConfig) -> str:
    """Return what tables call the system of a run; of TGCA-PVT with the word that its figures hang on."""
    if config.network == "mghft":
        return WITH_TEXT if config.use_text else WITHOUT_TEXT
    name = PEER_NAMES[config.network]
    if (context := topic_context(config)) is not None:
        name += f" (topic context: {context})"
    return name


def topic_context(config: TrainConfig) -> TopicContext | None:
    """Return who shares a sticker's topic when the run is judged; None for a network that reads no topic."""
    if config.network != _READS_TOPIC:
        return None
    found: TopicContext = config.model.get("topic_context", _CONTEXT_OF_ITS_OWN)
    return found


def in_topic_contexts(config: TrainConfig, contexts: Sequence[TopicContext]) -> list[TrainConfig]:
    """Return the configuration once per topic context; as it is if there are none or it reads no topic."""
    if not contexts or topic_context(config) is None:
        return [config]
    return [
        config.model_copy(update={"model": {**config.model, "topic_context": context}})
        for context in dict.fromkeys(contexts)
    ]


def topic_notes(runs: Sequence[TrainedRun], batch_size: int) -> list[str]:
    """Return what has to be said below figures of TGCA-PVT, in one sentence; nothing without such a run."""
    contexts = dict.fromkeys(topic_context(run.config) for run in runs)
    meanings = {
        "self": "self is the sticker alone",
        "batch": f"batch is its batch of {batch_size}, in the order of the split, as released",
        "topic": "topic is every sticker of its topic in the split (transductive)",
    }
    words = [meanings[context] for context in contexts if context is not None]
    if not words:
        return []
    return [
        f"{PEER_NAMES[_READS_TOPIC]} was trained with the topics of its batches, as released, and judged "
        f"with the topic context in its name: {'; '.join(words)}."
    ]


def open_runs(
    folders: Sequence[Path],
    moved: Mapping[str, Any] | None = None,
    contexts: Sequence[TopicContext] = (),
) -> list[TrainedRun]:
    """Open the runs to evaluate.

    Args:
        folders: run folders of `mghft train`.
        moved: fields of their configurations to replace, as of `EvalConfig.moved`.
        contexts: topic contexts; a run of TGCA-PVT comes once in each. None: its own.

    Raises:
        FileNotFoundError: a folder is not a run folder, or its run has no weights yet.
        ValueError: a run is damaged, or the runs do not go together.
    """
    runs: list[TrainedRun] = []
    for folder in folders:
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(
                f"{folder} is not a run folder of 'mghft "
                f"train'{'' if folder.exists() else near_paths(folder)}: "
                "it has no config.json"
            )
        if not (folder / "best" / "model.safetensors").is_file():
            raise FileNotFoundError(
                f"the run {folder} has no best/model.safetensors yet: let its first epoch finish"
            )
        resolved = read_json(folder / "config.json")
        # A run keeps the name of its tracker, which need not be one that is still supported.
        config = build_config({**resolved["config"], **(moved or {}), "tracker": None})
        for judged in in_topic_contexts(config, contexts):
            name = system_name(judged)
            if any(run.name == name for run in runs):
                name = f"{name} ({folder.name})"
            if any(run.name == name for run in runs):
                raise ValueError(
                    f"the run {folder.name} is duplicated: give every run folder its own name, once"
                )
            runs.append(TrainedRun(folder, name, judged, tuple(resolved["labels"]), folder / "best"))
    if len({run.labels for run in runs}) > 1:
        raise ValueError("the runs have different labels: evaluate runs of one corpus together")
    return runs
