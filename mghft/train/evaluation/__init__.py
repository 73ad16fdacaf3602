"""Trained runs judged: metrics, intervals, baselines, report."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "baselines": ["majority_baseline", "text_only_baseline"],
        "bootstrap": ["Difference", "Figure", "paired_differences"],
        "metrics": ["bootstrap_interval", "classification_metrics"],
        "report": ["write_report"],
        "trained_runs": ["EvalConfig", "Run", "build_eval_config", "open_runs"],
    },
)
