"""The model card, README.md beside the weights, with the metadata that the Hugging Face Hub reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from mghft.model.config import MGHFTConfig

TASK = "image-classification"
_CITATION = (
    'Please cite "MGHFT: Multi-Granularity Hierarchical Fusion Transformer for Cross-Modal Sticker Emotion\n'
    'Recognition" (ACM MM 2025, arXiv 2507.18929), and the corpus.'
)
_LOADING = """    from mghft.model import MGHFT
    model = MGHFT.from_pretrained("path/to/this/folder")  # or its id on the hub"""


class CardWords(NamedTuple):
    """What a card says of a kind of model.

    Args:
        name: of the model.
        about: one sentence or more.
        brief: its size, local stages and alpha in one line.
        shape: its dimensions, in sentences.
        loading: code, indented.
        citation: what to cite.
    """

    name: str
    about: str
    brief: str
    shape: str
    loading: str
    citation: str


def model_card(
    words: CardWords,
    num_classes: int,
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
    if classes is not None and len(classes) != num_classes:
        raise ValueError(
            f"{len(classes)} classes were named for a model of {num_classes}: name each once, in order"
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
        model_name=words.name,
        eval_results=results or None,
    )
    paragraphs = [
        f"---\n{data.to_yaml()}\n---",
        f"# {words.name}, {num_classes} classes",
        words.about,
        *([origin] if origin else []),
        f"{words.shape} `config.json` has every field.",
    ]
    if classes is not None:
        paragraphs.append(f"Classes, in index order: {', '.join(classes)}.")
    if metrics:
        rows = "\n".join(f"| {name} | {value:.4f} |" for name, value in metrics.items())
        paragraphs.append(f"| {dataset}{f', {split}' if split else ''} | |\n|---|---|\n{rows}")
    return ModelCard("\n\n".join([*paragraphs, words.loading, words.citation]) + "\n")


def mghft_words(config: MGHFTConfig) -> CardWords:
    """Return what a card says of MGHFT."""
    text = "four views of a description" if config.use_text else "nothing else"
    shape = (
        f"Images of {config.image_size} px (any multiple of {config.size_multiple} works); widths "
        f"{config.embed_dims}, depths {config.depths},\n"
        f"local stages {config.local_flags}, alpha {config.alpha}."
    )
    if config.use_text:
        shape += f" Text features of width {config.text_dim}, in the order\n{', '.join(config.views)}."
    about = (
        "A multi-granularity hierarchical fusion transformer: it tells the emotion of a sticker from its\n"
        f"picture and {text}."
    )
    return CardWords("MGHFT", about, brief(config), shape, _LOADING, _CITATION)


def brief(config: MGHFTConfig) -> str:
    """Return a model's size in one line."""
    return f"{config.image_size} px, local stages {config.local_flags}, alpha {config.alpha}"
