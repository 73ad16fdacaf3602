"""The model card, README.md beside the weights, with the metadata that the Hugging Face Hub reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from mghft.model.config import MGHFTConfig

TASK = "image-classification"
CITATION = (
    'Please cite "MGHFT: Multi-Granularity Hierarchical Fusion Transformer for Cross-Modal Sticker Emotion\n'
    'Recognition" (ACM MM 2025, arXiv 2507.18929), and the corpus.'
)
LOADING = """    from mghft.model import MGHFT
    model = MGHFT.from_pretrained("path/to/this/folder")  # or its id on the hub"""


def model_card(
    config: MGHFTConfig,
    general: ModelCardData,
    *,
    classes: Sequence[str] | None,
    metrics: Mapping[str, float] | None,
    dataset: str | None,
    split: str | None,
    license: str | None,
    origin: str | None,
) -> ModelCard:
    """Return the card of a model; arguments as of `HubModel.generate_model_card`.

    Raises:
        ValueError: metrics without a dataset, or another number of classes than the model has.
    """
    if metrics and dataset is None:
        raise ValueError("metrics without a dataset mean nothing: name the one they were measured on")
    if classes is not None and len(classes) != config.num_classes:
        raise ValueError(
            f"{len(classes)} classes were named for a model of {config.num_classes}: name each once, in order"
        )
    results = [
        EvalResult(
            task_type=TASK,
            dataset_type=str(dataset),
            dataset_name=str(dataset),
            dataset_split=split,
            metric_type=name,
            metric_value=float(value),
        )
        for name, value in (metrics or {}).items()
    ]
    data = ModelCardData(
        **cast(dict[str, Any], general.to_dict()),  # type: ignore[no-untyped-call]
        license=license,
        datasets=[dataset] if dataset else None,
        model_name="MGHFT",
        eval_results=results or None,
    )
    paragraphs = [f"---\n{data.to_yaml()}\n---", *_paragraphs(config, origin)]
    if classes is not None:
        paragraphs.append(f"Classes, in index order: {', '.join(classes)}.")
    if metrics:
        rows = "\n".join(f"| {name} | {value:.4f} |" for name, value in metrics.items())
        paragraphs.append(f"| {dataset}{f', {split}' if split else ''} | |\n|---|---|\n{rows}")
    return ModelCard("\n\n".join([*paragraphs, LOADING, CITATION]) + "\n")


def _paragraphs(config: MGHFTConfig, origin: str | None) -> list[str]:
    text = "four views of a description" if config.use_text else "nothing else"
    shape = (
        f"Images of {config.image_size} px (any multiple of {config.size_multiple} works); widths "
        f"{config.embed_dims}, depths {config.depths},\n"
        f"local stages {config.local_flags}, alpha {config.alpha}."
    )
    if config.use_text:
        shape += f" Text features of width {config.text_dim}, in the order\n{', '.join(config.views)}."
    return [
        f"# MGHFT, {config.num_classes} classes",
        "A multi-granularity hierarchical fusion transformer: it tells the emotion of a sticker from its\n"
        f"picture and {text}.",
        *([origin] if origin else []),
        f"{shape} `config.json` has every field.",
    ]
