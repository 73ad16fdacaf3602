"""README.md beside the best weights: the model's own card with the data, the configuration and the result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mghft.model.hub import HubModel
from mghft.pipeline.corpora.card import Card, read_front_matter
from mghft.train.options import TextOptions
from mghft.train.runs.records import EpochRecord


def training_card(
    model: HubModel,
    *,
    card: Card,
    text: TextOptions | None,
    record: EpochRecord,
    epochs: int,
    counts: Mapping[str, int],
    settings: Mapping[str, Any],
) -> str:
    """Return the card of the weights of one epoch.

    Args:
        card: of the corpus.
        text: None for a run without text.
        record: the epoch's line of metrics.jsonl.
        epochs: that the run takes in all.
        counts: stickers of every split that was read.
        settings: rows of the table of settings; those that are None are left out.
    """
    figures = {
        "accuracy": record["validation_accuracy"],
        "f1_macro": record["validation_f1_macro"],
        "f1_weighted": record["validation_f1_weighted"],
    }
    made = model.generate_model_card(
        classes=card.labels,
        metrics=figures,
        dataset=card.title,
        split="validation",
        license=None,
        origin=f"Trained by mghft {'with' if text else 'without'} text. "
        f"These are the weights of epoch {record['epoch']} of "
        f"{epochs}, the best on validation;\nthe test split was not looked at.",
    )
    rows = [f"| {name} | {value} |" for name, value in settings.items() if value is not None]
    training = ["## Training", "", "| | |", "|---|---|", *rows, ""]
    return "\n".join([str(made).rstrip(), "", *_data(card, text, counts), *training])


def _data(card: Card, text: TextOptions | None, counts: Mapping[str, int]) -> list[str]:
    licences = read_front_matter(card.source).get("license") or []
    named = ", ".join(licences) if isinstance(licences, list) else str(licences)
    lines = ["## Data", "", f"Corpus: {card.title} (data card `{card.name}`)."]
    lines.append(f"Licence of the corpus: {named or 'not named in its card'}; it bears on these weights too.")
    lines += [f"- {name}: {count} stickers" for name, count in counts.items()]
    if text is not None:
        lines.append(
            f"- descriptions by {_describing_model(text.descriptions)}, "
            f"read by the text encoder {text.text_encoder}"
        )
    return [*lines, ""]


def _describing_model(run_folder: Path) -> str:
    """Return the name of the model that described the stickers, as far as the run folder tells."""
    try:
        manifest = json.loads((run_folder / "manifest.json").read_text(encoding="utf-8"))
        return str(manifest["model"]["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return "a model that their folder does not name"
