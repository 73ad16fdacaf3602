"""The manifest of a describe run: everything that decides its content."""

from __future__ import annotations

from mghft.pipeline.corpora.sticker import Corpus
from mghft.pipeline.engines.factory import EngineFacts
from mghft.pipeline.engines.model_source import ModelSource
from mghft.pipeline.images.decode import ImageTransform
from mghft.pipeline.prompting.pack import PromptPack
from mghft.pipeline.runs.manifest import Manifest, fingerprint
from mghft.pipeline.views import VIEWS, views_schema


def build_manifest(
    corpus: Corpus,
    pack: PromptPack,
    model: ModelSource,
    engine: EngineFacts,
    image: ImageTransform,
    *,
    attempts: int,
    embed_images: bool,
) -> Manifest:
    """Return what decides the content of a run.

    Which stickers are chosen does not: more of them is more work, not another run.
    """
    manifest: Manifest = {
        "fingerprint": "",
        "format": 1,
        "corpus": {"card": corpus.card.name, "sha256": corpus.fingerprint()},
        "model": {
            "name": model.name,
            "revision": model.revision,
            "weights_sha256": model.weights_sha256,
            "trust_remote_code": model.trust_remote_code,
        },
        "prompt": {"sha256": pack.digest(), **pack.model_dump(mode="json")},
        "views": list(VIEWS),
        "schema": views_schema(pack.asked),
        "image": image.model_dump(mode="json"),
        "engine": engine,
        "attempts": attempts,
        "embed_images": embed_images,
    }
    manifest["fingerprint"] = fingerprint(manifest)
    return manifest
