"""Trained runs evaluated: metrics, intervals, baselines, report."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "baselines": ["RegressionBaseline", "majority_baseline", "regression_baseline"],
        "bootstrap": ["Difference", "Estimate", "paired_differences"],
        "calibration": ["apply_temperature", "fit_temperature"],
        "split_metrics": ["evaluate_split"],
        "metrics": ["ClassificationMetrics", "classification_metrics"],
        "probability_metrics": ["ProbabilityMetrics"],
        "report": ["write_report"],
        "results": ["Evaluation"],
        "trained_runs": ["EvalConfig", "TrainedRun", "build_eval_config", "open_runs"],
    },
)
