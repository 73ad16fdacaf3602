"""Trained runs evaluated: metrics, intervals, baselines, report."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from mghft.train.evaluation.baselines import TextOnlyBaseline as TextOnlyBaseline
    from mghft.train.evaluation.baselines import majority_baseline as majority_baseline
    from mghft.train.evaluation.baselines import text_only_baseline as text_only_baseline
    from mghft.train.evaluation.bootstrap import Difference as Difference
    from mghft.train.evaluation.bootstrap import Estimate as Estimate
    from mghft.train.evaluation.bootstrap import bootstrap_interval as bootstrap_interval
    from mghft.train.evaluation.bootstrap import paired_differences as paired_differences
    from mghft.train.evaluation.evaluate import evaluate_split as evaluate_split
    from mghft.train.evaluation.metrics import ClassificationMetrics as ClassificationMetrics
    from mghft.train.evaluation.metrics import classification_metrics as classification_metrics
    from mghft.train.evaluation.report import write_report as write_report
    from mghft.train.evaluation.results import Evaluation as Evaluation
    from mghft.train.evaluation.trained_runs import EvalConfig as EvalConfig
    from mghft.train.evaluation.trained_runs import TrainedRun as TrainedRun
    from mghft.train.evaluation.trained_runs import build_eval_config as build_eval_config
    from mghft.train.evaluation.trained_runs import open_runs as open_runs

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "baselines": ["TextOnlyBaseline", "majority_baseline", "text_only_baseline"],
        "bootstrap": ["Difference", "Estimate", "bootstrap_interval", "paired_differences"],
        "evaluate": ["evaluate_split"],
        "metrics": ["ClassificationMetrics", "classification_metrics"],
        "report": ["write_report"],
        "results": ["Evaluation"],
        "trained_runs": ["EvalConfig", "TrainedRun", "build_eval_config", "open_runs"],
    },
)
