"""Manifests and fingerprints are those of the code before the rooms: runs written then are gone on with.

Each fingerprint is what `build_manifest` of that code printed for the fields beside it, with the squares of
tests/old_runs, vLLM 0.32.0, the stand-in that was shipped then and a model folder of these two files.
"""

from pathlib import Path

import pytest

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.describe.config import build_describe_config
from mghft.pipeline.describe.prepare import prepare_run
from mghft.pipeline.engines import factory, vllm_engine
from mghft.pipeline.prompting.load import load_pack
from mghft.pipeline.runs.manifest import fingerprint

OLD_RUNS = Path(__file__).parents[2] / "old_runs"
SERVER = {"base_url": "https://me:hush@host:8443/v1/?key=hush", "structured": "schema", "price_input": 1.5}
IMAGE = {"max_side": 512, "frame": "sheet:4", "background": [0, 16, 255]}


@pytest.fixture
def model(tmp_path, monkeypatch, former_stand_in):
    """A folder with a model's files; vLLM is of the version in the fingerprints, and "auto" as on a GPU."""
    monkeypatch.setattr(vllm_engine, "vllm_version", lambda: "0.32.0")
    monkeypatch.setattr(factory, "fast_format", lambda _: "auto")
    (tmp_path / "painter").mkdir()
    (tmp_path / "painter" / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "painter" / "model.safetensors").write_bytes(b"weights")
    return str(tmp_path / "painter")


def manifest(fields):
    card, data = OLD_RUNS / "squares.md", OLD_RUNS / "data"
    config = build_describe_config(None, {"card": str(card), "data": data, "out": "out"}, fields)
    corpus, pack = load_corpus(load_card(str(card)), data), load_pack(config.prompt)
    return prepare_run(corpus, config.selection, pack, config.engine, config.image, config.run).manifest


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, "8f05c3c4d79dd49e9201305823f51998c0e04691b976ad75b031eb3175b8a8c4"),
        ({"model": "interpreter"}, "8f05c3c4d79dd49e9201305823f51998c0e04691b976ad75b031eb3175b8a8c4"),
        ({"engine.model": "tiny-llava"}, "8f05c3c4d79dd49e9201305823f51998c0e04691b976ad75b031eb3175b8a8c4"),
        (
            {"prompt": "per-view", "attempts": 3},
            "0f49310fc44da003fa4282d49b4853fc1f1a95451edd97867170124e3b5f746b",
        ),
        (
            {"prompt": "caption", "embed_images": True, "image": IMAGE},
            "9a9dc056e1744ee93ff8979273f483a9b8e08b50c67bbfb6413e05763de580dc",
        ),
        (
            {
                "image": {"frame": "3", "max_side": None},
                "vllm.dtype": "float32",
                "vllm.max_model_len": 256,
                "vllm.max_num_seqs": 4,
            },
            "12f6f45d68f5607da6d5fcb2a36cbb317d43a632910228130080ef6e1dd3affe",
        ),
        (
            {"model": "FOLDER", "revision": "ignored", "trust_remote_code": True, "prompt": "with-text"},
            "7158273a57b595cddd7abac0572235865df9c04135c3d04cdd83859885481b5d",
        ),
        (
            {"engine": "openai", "model": "painter", "server": SERVER},
            "205b321d0fad01db790476fbcc7b0338dc11a7ba7189e3374c800eeb9942ea52",
        ),
        (
            {
                "prompt": "multiview-zh",
                "split": "train",
                "where": ["label=warm"],
                "part": "1/2",
                "limit": 2,
                "seed": 7,
                "window": 3,
                "shard_rows": 5,
            },
            "8385076d00f62908a1835c39cdaa40aec196008cd5db155304756b667886d0b9",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_fingerprint_is_what_it_was(model, fields, wanted):
    if fields.get("model") == "FOLDER":
        fields = {**fields, "model": model}
    found = manifest(fields)
    assert found["fingerprint"] == fingerprint(found) == wanted


def test_keys_stand_in_the_order_in_which_they_were_written(model):
    """The file, not only its hash, is the same."""
    keys = "fingerprint format corpus model prompt views schema image engine attempts embed_images"
    assert list(manifest({})) == keys.split()
