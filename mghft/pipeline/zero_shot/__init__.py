"""Zero-shot classification by a multimodal model: choice, option likelihood, calibration, official prompt."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["ZeroShotConfig", "build_zero_shot_config"],
        "run": ["ZeroShotResult", "zero_shot"],
        "scores": ["batch_calibrated", "mean_over_orders", "order_sensitive", "softmax"],
    },
)
