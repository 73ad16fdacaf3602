"""README.md of a run folder: the dataset card by which the Hub and `datasets` read its shards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mghft.pipeline.corpora.sticker import Corpus


def front_matter(name: str, language: str | None = None) -> list[str]:
    """Head of a run's README.md, by which the Hub and `datasets` read its shards."""
    return [
        "---",
        f"pretty_name: {json.dumps(name)}",
        *([] if language is None else [f"language: {language}"]),
        "configs:",
        "- config_name: default",
        "  data_files: descriptions-*.parquet",
        "tags: [stickers, emotion, image-description]",
        "---",
    ]


def run_card(manifest: Mapping[str, Any], corpus: Corpus, stats: Mapping[str, Any]) -> str:
    model, engine = manifest["model"], manifest["engine"]
    # Of a server nobody knows the version.
    version = f" {engine['version']}" if engine["version"] else ""
    identity = model["revision"] or f"sha256 {model['weights_sha256']}"
    lines = [
        *front_matter(f"Multi-view descriptions of {corpus.card.title}", manifest["prompt"]["language"]),
        "",
        f"# Descriptions of {corpus.card.title} in four views",
        "",
        f"Written by `mghft describe`: model `{model['name']}` ({identity}), "
        f"prompt pack `{manifest['prompt']['name']}`, engine {engine['name']}{version}.",
        "",
        f"{stats['rows']} stickers, {stats['ok']} described, {stats['failed']} failed (`status`, `error`).",
        f"Different texts per view: {', '.join(f'{k} {v}' for k, v in stats['distinct_texts'].items())}.",
        *(f"Warning: {warning}." for warning in stats["warnings"]),
        "",
        "The texts are a model's, not a person's: they can be wrong, and they carry the model's own bias. "
        f"The images and labels are those of the corpus `{corpus.card.name}` under its own licence.",
        "",
    ]
    return "\n".join(lines)
