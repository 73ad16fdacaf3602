"""Results of an evaluation, field by field what report.json holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from mghft.train.evaluation.annotators import AnnotatorKappa
from mghft.train.evaluation.metrics import ClassificationMetrics
from mghft.train.evaluation.probability_metrics import ProbabilityMetrics
from mghft.train.evaluation.topics import TopicSummary

# How the subsets are called that hold the labels of one source.
SOURCE = "labels: "
# Name of the whole split among its subsets.
WHOLE = "all"


@dataclass(frozen=True)
class SystemMetrics(ClassificationMetrics):
    """Metrics of one system on one subset, two with 95 % bootstrap intervals over groups of stickers."""

    accuracy_interval: tuple[float, float]
    f1_macro_interval: tuple[float, float]
    probabilities: ProbabilityMetrics


@dataclass(frozen=True)
class AccuracyGain:
    """Accuracy of the main system minus that of another, paired by sticker, with its 95 % interval."""

    accuracy_gain: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class RunSummary:
    """Training of an evaluated run; the best epoch is None where no epoch ended."""

    use_text: bool
    recipe: str | None
    epochs: int
    epochs_done: int
    best_epoch: int | None
    best_validation_accuracy: float | None
    training_seconds: float


@dataclass(frozen=True)
class Evaluation:
    """Everything that an evaluation measured.

    Attributes:
        corpus: its title.
        labels: names in index order.
        main: the system that is shown and compared with the others.
        systems: baselines first.
        runs: by system; a model folder knows nothing of its training and is left out.
        text_only_strength: regularisation of the text-only baseline, None without text.
        splits: metrics by split, subset (the whole split is "all") and system.
        differences: of the main system, by split, subset and other system.
        annotators: agreement with them by split, where the corpus has several.
        topics: accuracy over topics by split and system, where the corpus has topics; topics.csv holds all.
        notes: sentences without which the figures are misread.
    """

    corpus: str
    labels: list[str]
    main: str
    systems: list[str]
    runs: dict[str, RunSummary]
    text_only_strength: float | None
    splits: dict[str, dict[str, dict[str, SystemMetrics]]]
    differences: dict[str, dict[str, dict[str, AccuracyGain]]]
    annotators: dict[str, AnnotatorKappa]
    topics: dict[str, dict[str, TopicSummary]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
