"""What an experiment file declares: corpora, systems, seeds, settings, and the figures others published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mghft.pipeline.files import write_json
from mghft.pipeline.settings import build, read_settings
from mghft.pipeline.text import near
from mghft.train.runs.files import read_json

SHIPPED = Path(__file__).resolve().parents[2] / "experiments"
OPTIONS = "experiment.json"
# Fields that the command line may give, and the output folder remembers.
_OPTIONS = ("data", "descriptions", "seeds", "cards", "train")
# Words that a command of an experiment may hold in braces.
PLACEHOLDERS = ("card", "data", "descriptions", "cache", "shared", "seed", "out")


class System(BaseModel):
    """One row of the table, and how its predictions come about: one of train, eval, command, predictions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: dict[str, Any] | None = Field(default=None, description="fields of `mghft train`, over the common")
    eval: tuple[str, ...] | None = Field(
        default=None, description="systems of this file that `mghft eval` judges together; with `system`"
    )
    command: tuple[str, ...] | None = Field(
        default=None,
        description="words after `mghft`, which write predictions.parquet into {out}; {card} {data} "
        "{descriptions} {cache} {seed} stand for what they say, {shared} for a folder of the whole "
        "experiment",
    )
    folder: str | None = Field(
        default=None,
        description="where a command leaves its predictions, if not in {out}: several rows may come of one "
        "command that writes below {shared}",
    )
    predictions: Path | None = Field(default=None, description="a predictions file of another program")
    system: str | None = Field(
        default=None, description="name in the predictions; not needed where they hold one system"
    )
    seeds: tuple[int, ...] | None = Field(
        default=None, min_length=1, description="if others than the experiment's"
    )
    settings: tuple[str, ...] | None = Field(
        default=None, description="settings that are run; null: all, empty: none but the plain one"
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> System:
        ways = [
            name for name in ("train", "eval", "command", "predictions") if getattr(self, name) is not None
        ]
        if len(ways) != 1:
            has = " and ".join(ways) or "none"
            raise ValueError(f"a system has one of train, eval, command and predictions, this one has {has}")
        if self.eval is not None and self.system is None:
            raise ValueError(
                "system: say which system of the evaluation this row is, such as 'late fusion, mean'"
            )
        for word in (*(self.command or ()), *([self.folder] if self.folder else [])):
            _check_placeholders(word)
        if self.folder is not None and self.command is None:
            raise ValueError("folder: only a command has one")
        return self


class Published(BaseModel):
    """Figures that others published, shown beside ours: percent by row and metric."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(description="where they stand, for the reader")
    rows: dict[str, dict[Literal["accuracy", "f1_macro", "f1_weighted"], float]] = Field(
        description="figures by system; a system that is not run has a row of its own"
    )


class Experiment(BaseModel):
    """One table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(description="heading of the table")
    cards: tuple[str, ...] = Field(min_length=1, description="corpora: CARD[:VARIANT…][@SPLITS]")
    pool: bool = Field(default=False, description="one table of all cards together: folds of one corpus")
    data: Path | None = Field(default=None, description="root folder of the corpus")
    descriptions: Path | None = Field(
        default=None, description="run of `mghft describe`; null: described once, into the output folder"
    )
    describe: dict[str, Any] = Field(
        default_factory=dict, description="fields of `mghft describe`, where there are no descriptions yet"
    )
    splits: tuple[str, ...] = Field(default=("validation", "test"), min_length=1, description="evaluated")
    split: str = Field(default="test", description="that the table shows")
    seeds: tuple[int, ...] = Field(default=(1, 2, 3), min_length=1, description="of every training")
    train: dict[str, Any] = Field(default_factory=dict, description="fields of every training")
    num_processes: int = Field(default=1, ge=1, description="of every training, on this machine")
    settings: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="by name, fields over those of the systems: one more row for each"
    )
    systems: dict[str, System] = Field(min_length=1, description="rows of the table by name")
    against: str | None = Field(default=None, description="row that every other is compared with")
    metric: Literal["accuracy", "f1_macro"] = Field(
        default="accuracy", description="what rows are compared by"
    )
    published: Published | None = Field(default=None, description="figures of a paper, for their own column")

    @model_validator(mode="after")
    def _refers_to_what_it_has(self) -> Experiment:
        for name, system in self.systems.items():
            for other in system.eval or ():
                if other not in self.systems or self.systems[other].train is None:
                    raise ValueError(f"systems.{name}.eval: {other!r} is no trained system of this file")
            for setting in system.settings or ():
                if setting not in self.settings:
                    raise ValueError(f"systems.{name}.settings: there is no setting {setting!r}")
        if self.split not in self.splits:
            raise ValueError(f"split: {self.split!r} is not among the splits {', '.join(self.splits)}")
        for field, fields in (
            ("train", self.train),
            *((f"settings.{n}", f) for n, f in self.settings.items()),
        ):
            if taken := sorted(_OF_CELLS & set(fields)):
                raise ValueError(f"{field}.{taken[0]}: every cell has its own, leave it out")
        for name, system in self.systems.items():
            if taken := sorted(_OF_CELLS & set(system.train or ())):
                raise ValueError(f"systems.{name}.train.{taken[0]}: every cell has its own, leave it out")
        return self


_OF_CELLS = {"card", "data", "descriptions", "out", "seed", "resume", "cache_dir"}


def load_experiment(name: str, fields: dict[str, Any]) -> Experiment:
    """Read an experiment file.

    Args:
        name: of a shipped experiment, or path of a YAML file.
        fields: of the command line, over those of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a field is unknown, missing or wrong; one sentence that names it and the file.
    """
    path = Path(name)
    if not path.suffix and not path.exists():
        path = SHIPPED / f"{name}.yaml"
        if not path.is_file():
            shipped = sorted(file.stem for file in SHIPPED.glob("*.yaml"))
            raise FileNotFoundError(
                f"there is no experiment {name!r}{near(str(name), shipped)}: name a YAML file, or one of "
                f"{', '.join(shipped)}"
            )
    return build(Experiment, read_settings(path), fields, what=f"the experiment {path.name}")


def write_options(folder: Path, experiment: Experiment) -> None:
    """Keep in the output folder what an experiment was run with, for commands that only look."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / OPTIONS, experiment.model_dump(mode="json", include=set(_OPTIONS)))


def read_options(folder: Path) -> dict[str, Any]:
    """Return what `write_options` kept; nothing where there was no run yet.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / OPTIONS
    if not path.is_file():
        return {}
    kept = read_json(path)
    return {name: kept[name] for name in _OPTIONS if kept.get(name)}


def needs_descriptions(experiment: Experiment, trainings: Sequence[dict[str, Any]]) -> bool:
    """Return whether any of the trainings reads descriptions, or a command asks for them."""
    words = [word for system in experiment.systems.values() for word in system.command or ()]
    reads = [
        fields.get("use_text", True) and fields.get("network", "mghft") == "mghft" for fields in trainings
    ]
    return any(reads) or any("{descriptions}" in word for word in words)


def _check_placeholders(word: str) -> None:
    try:
        word.format(**dict.fromkeys(PLACEHOLDERS, ""))
    except (KeyError, IndexError, ValueError) as error:
        known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise ValueError(f"command: {word!r} holds a word in braces that is none of {known}") from error
