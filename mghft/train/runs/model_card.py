"""README.md beside the best weights: the model's own card with the data, the configuration and the result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mghft.model import MGHFT
from mghft.pipeline.corpora.card import Card, read_front_matter
from mghft.train.config import TrainConfig

# What a reader asks first; the whole of it is in the run's config.json.
_SETTINGS = ("recipe", "epochs", "batch_size", "repeats", "label_smoothing", "ema_decay", "seed", "init_from")


def training_card(
    model: MGHFT,
    *,
    config: TrainConfig,
    card: Card,
    line: Mapping[str, Any],
    counts: Mapping[str, int],
    processes: int,
    versions: Mapping[str, str],
) -> str:
    """The card of the weights of one epoch.

    Args:
        card: of the corpus.
        line: the epoch's line of metrics.jsonl.
        counts: stickers of every split that was read.
        processes: that trained together.
        versions: of the packages.
    """
    metrics = {name: line[f"validation_{name}"] for name in ("accuracy", "f1_macro", "f1_weighted")}
    text = "with text" if config.use_text else "without text"
    made = model.generate_model_card(
        classes=card.labels,
        metrics=metrics,
        dataset=card.title,
        split="validation",
        license=None,
        origin=f"Trained by mghft {text}. These are the weights of epoch {line['epoch']} of "
        f"{config.epochs}, the best on validation;\nthe test split was not looked at.",
    )
    return "\n".join(
        [str(made).rstrip(), "", *_data(config, card, counts), *_training(config, processes, versions)]
    )


def _data(config: TrainConfig, card: Card, counts: Mapping[str, int]) -> list[str]:
    front = read_front_matter(card.source)
    licences = front.get("license") or []
    named = ", ".join(licences) if isinstance(licences, list) else str(licences)
    lines = ["## Data", "", f"Corpus: {card.title} (data card `{card.name}`)."]
    lines.append(f"Licence of the corpus: {named or 'not named in its card'}; it bears on these weights too.")
    lines += [f"- {name}: {count} stickers" for name, count in counts.items()]
    if config.descriptions is not None:
        lines.append(
            f"- descriptions by {_interpreter(config)}, read by the text encoder {config.text_encoder}"
        )
    return [*lines, ""]


def _interpreter(config: TrainConfig) -> str:
    """The model that described the stickers, as far as the run folder tells."""
    assert config.descriptions is not None
    try:
        manifest = json.loads((config.descriptions / "manifest.json").read_text(encoding="utf-8"))
        return str(manifest["model"]["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return "a model that their folder does not name"


def _training(config: TrainConfig, processes: int, versions: Mapping[str, str]) -> list[str]:
    rows = {name: getattr(config, name) for name in _SETTINGS}
    rows |= {
        "learning rate": config.learning_rate(processes),
        "weight decay": config.weight_decay,
        "augmentation": "off"
        if config.augmentation.off
        else (config.augmentation.auto_augment or "crops, jitter"),
        "mixed precision": config.mixed_precision,
        "processes": processes,
        **versions,
    }
    table = [f"| {name.replace('_', ' ')} | {value} |" for name, value in rows.items() if value is not None]
    return ["## Training", "", "| | |", "|---|---|", *table, ""]
