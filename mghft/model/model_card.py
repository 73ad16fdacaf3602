"""The model card, README.md beside the weights, with the metadata that the Hugging Face Hub reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from mghft.model.config import MGHFTConfig, PyramidConfig

TASK = "image-classification"
CITATION = (
    'Please cite "MGHFT: Multi-Granularity Hierarchical Fusion Transformer for Cross-Modal Sticker Emotion\n'
    'Recognition" (ACM MM 2025, arXiv 2507.18929), and the corpus.'
)
LOADING = """    from mghft.model import MGHFT
    model = MGHFT.from_pretrained("path/to/this/folder")  # or its id on the hub"""


class CardText(NamedTuple):
    """What a model says of itself.

    Args:
        name: of the network.
        sentence: what it is and reads.
        inputs: what it reads beside the image, or "".
        loading: lines of code, indented.
        citation: what to cite.
    """

    name: str
    sentence: str
    inputs: str
    loading: str
    citation: str


def model_card(
    config: PyramidConfig,
    text: CardText,
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
        model_name=text.name,
        eval_results=results or None,
    )
    paragraphs = [f"---\n{data.to_yaml()}\n---", *_paragraphs(config, text, origin)]
    if classes is not None:
        paragraphs.append(f"Classes, in index order: {', '.join(classes)}.")
    if metrics:
        rows = "\n".join(f"| {name} | {value:.4f} |" for name, value in metrics.items())
        paragraphs.append(f"| {dataset}{f', {split}' if split else ''} | |\n|---|---|\n{rows}")
    return ModelCard("\n\n".join([*paragraphs, text.loading, text.citation]) + "\n")


def mghft_text(config: MGHFTConfig) -> CardText:
    """Return what MGHFT says of itself."""
    read = "four views of a description" if config.use_text else "nothing else"
    sentence = (
        "A multi-granularity hierarchical fusion transformer: it tells the emotion of a sticker from its\n"
        f"picture and {read}."
    )
    views = f" Text features of width {config.text_dim}, in the order\n{', '.join(config.views)}."
    return CardText("MGHFT", sentence, views if config.use_text else "", LOADING, CITATION)


def _paragraphs(config: PyramidConfig, text: CardText, origin: str | None) -> list[str]:
    shape = (
        f"Images of {config.image_size} px (any multiple of {config.size_multiple} works); widths "
        f"{config.embed_dims}, depths {config.depths},\n"
        f"local stages {config.local_flags}, alpha {config.alpha}."
    )
    return [
        f"# {text.name}, {config.num_classes} classes",
        text.sentence,
        *([origin] if origin else []),
        f"{shape}{text.inputs} `config.json` has every field.",
    ]
