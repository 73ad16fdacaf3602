"""README.md of a run folder: the dataset card by which the Hub and `datasets` read its shards."""

from __future__ import annotations

from mghft.pipeline.corpora.sticker import Corpus
from mghft.pipeline.runs.manifest import Manifest
from mghft.pipeline.runs.status import RunStatus
from mghft.pipeline.text import one_line, yaml_line


def front_matter(name: str, language: str | None = None) -> list[str]:
    """Return the head of a run's README.md, by which the Hub and `datasets` read its shards."""
    return [
        "---",
        yaml_line("pretty_name", name),
        *([] if language is None else [yaml_line("language", language)]),
        "configs:",
        "- config_name: default",
        "  data_files: descriptions-*.parquet",
        "tags: [stickers, emotion, image-description]",
        "---",
    ]


def run_card(manifest: Manifest, corpus: Corpus, status: RunStatus) -> str:
    """Return the README.md of a run: where its texts come from, how many there are, what they are not."""
    model, engine = manifest["model"], manifest["engine"]
    # Of a server nobody knows the version, nor which weights answer under the model's name.
    version = f" {engine['version']}" if engine["version"] else ""
    weights = model["weights_sha256"] and f"sha256 {model['weights_sha256']}"
    identity = f" ({known})" if (known := model["revision"] or weights) else ""
    lines = [
        *front_matter(f"Multi-view descriptions of {corpus.card.title}", manifest["prompt"]["language"]),
        "",
        f"# Descriptions of {one_line(corpus.card.title)} in four views",
        "",
        f"Written by `mghft describe`: model `{model['name']}`{identity}, "
        f"prompt pack `{manifest['prompt']['name']}`, engine {engine['name']}{version}.",
        "",
        f"{status['rows']} stickers, {status['ok']} described, {status['failed']} failed "
        "(`status`, `error`).",
        f"Different texts per view: {', '.join(f'{k} {v}' for k, v in status['distinct_texts'].items())}.",
        *(f"Warning: {warning}." for warning in status["warnings"]),
        "",
        "The texts are a model's, not a person's: they can be wrong, and they carry the model's own bias. "
        f"The images and labels are those of the corpus `{corpus.card.name}` under its own licence.",
        "",
    ]
    return "\n".join(lines)
