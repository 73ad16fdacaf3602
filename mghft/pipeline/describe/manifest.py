"""The manifest of a describe run: everything that decides its content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mghft.pipeline.corpora.sticker import Corpus
from mghft.pipeline.describe.config import DescribeConfig
from mghft.pipeline.engines.model_source import ModelSource
from mghft.pipeline.prompting.pack import PromptPack
from mghft.pipeline.runs.manifest import fingerprint
from mghft.pipeline.views import VIEWS, views_schema


def build_manifest(
    config: DescribeConfig, corpus: Corpus, pack: PromptPack, source: ModelSource, engine: Mapping[str, Any]
) -> dict[str, Any]:
    """What decides the content of a run; which stickers are chosen does not: more of them is more work."""
    manifest = {
        "format": 1,
        "corpus": {"card": corpus.card.name, "sha256": corpus.fingerprint()},
        "model": {
            "name": source.name,
            "revision": source.revision,
            "weights_sha256": source.weights_sha256,
            "trust_remote_code": config.trust_remote_code,
        },
        "prompt": {"sha256": pack.digest(), **pack.model_dump(mode="json")},
        "views": list(VIEWS),
        "schema": views_schema(pack.asked),
        "image": config.image.model_dump(mode="json"),
        "engine": dict(engine),
        "attempts": config.attempts,
        "embed_images": config.embed_images,
    }
    return {"fingerprint": fingerprint(manifest), **manifest}
