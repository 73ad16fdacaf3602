"""The configuration of a describe run: several models, and the short names of fields in older files."""

from pathlib import Path

import pytest

from mghft.pipeline.corpora.selection import Selection
from mghft.pipeline.describe.config import DescribeConfig, build_describe_config
from mghft.pipeline.engines.options import EngineOptions, ServerOptions, VllmOptions
from mghft.pipeline.images.decode import ImageTransform
from mghft.pipeline.runs.worker import Worker

# Every field that a file or a call could hold before there were several models.
FLAT = {
    "card": "emoji",
    "data": "data",
    "out": "run",
    "engine": "openai",
    "model": "painter",
    "revision": "v1",
    "prompt": "figure",
    "split": "train",
    "where": ["label=anger"],
    "ids": "ids.txt",
    "per_class": 3,
    "seed": 5,
    "limit": 7,
    "part": "2/4",
    "attempts": 2,
    "shard_rows": 64,
    "window": 32,
    "decode_workers": 0,
    "retry_failed": True,
    "reuse": ["old"],
    "embed_images": True,
    "strict": True,
    "dry_run": True,
    "trust_remote_code": True,
    "image": {"max_side": 64},
    "vllm": {"dtype": "float32"},
    "server": {"base_url": "http://localhost/v1", "concurrency": 3},
}
NESTED = {
    "corpus": {"card": "emoji", "data": "data"},
    "selection": {
        "split": "train",
        "where": ["label=anger"],
        "ids": "ids.txt",
        "per_class": 3,
        "seed": 5,
        "limit": 7,
    },
    "engine": {
        "kind": "openai",
        "model": "painter",
        "revision": "v1",
        "trust_remote_code": True,
        "vllm": {"dtype": "float32"},
        "server": {"base_url": "http://localhost/v1", "concurrency": 3},
    },
    "run": {
        "out": "run",
        "worker": "2/4",
        "attempts": 2,
        "shard_rows": 64,
        "window": 32,
        "decode_workers": 0,
        "retry_failed": True,
        "reuse": ["old"],
        "embed_images": True,
        "strict": True,
        "dry_run": True,
    },
    "image": {"max_side": 64},
    "prompt": "figure",
}
LEAST = {"card": "emoji", "data": "data", "out": "run"}


def test_flat_fields_go_where_they_belong():
    config = DescribeConfig(**FLAT)
    assert config == DescribeConfig(**NESTED)
    assert config.selection == Selection(
        split="train", where=("label=anger",), ids=Path("ids.txt"), per_class=3, seed=5, limit=7
    )
    assert config.run.worker == Worker(2, 4)
    assert config.engine.server == ServerOptions(base_url="http://localhost/v1", concurrency=3)
    assert (config.engine.vllm, config.image) == (VllmOptions(dtype="float32"), ImageTransform(max_side=64))


def test_models_are_taken_as_they_are():
    config = DescribeConfig(
        **LEAST, server=ServerOptions(concurrency=9), selection=Selection(limit=2), worker=Worker(1, 2)
    )
    assert (config.engine.server.concurrency, config.selection.limit) == (9, 2)
    assert config.run.worker == Worker(1, 2)
    whole = DescribeConfig(**LEAST, engine=EngineOptions(model="painter"))
    assert (whole.engine.kind, whole.engine.model) == ("vllm", "painter")


@pytest.mark.parametrize("fields", [FLAT, NESTED], ids=["flat", "nested"])
def test_a_file_may_be_written_either_way(tmp_path, fields):
    import yaml

    (tmp_path / "describe.yaml").write_text(yaml.safe_dump(fields), encoding="utf-8")
    assert build_describe_config(tmp_path / "describe.yaml") == DescribeConfig(**NESTED)


@pytest.mark.parametrize(
    "file",
    [
        "limit: 1\nvllm: {dtype: float32, max_num_seqs: 4}",
        "selection: {limit: 1}\nengine: {vllm: {dtype: float32, max_num_seqs: 4}}",
    ],
    ids=["short", "long"],
)
@pytest.mark.parametrize(
    "layer",
    [
        {"limit": 5, "vllm.dtype": "float16"},
        {"selection.limit": 5, "engine.vllm.dtype": "float16"},
    ],
    ids=["short", "long"],
)
def test_the_later_layer_wins_however_it_is_written(tmp_path, file, layer):
    (tmp_path / "describe.yaml").write_text(file, encoding="utf-8")
    config = build_describe_config(tmp_path / "describe.yaml", LEAST, {"selection.limit": 3}, layer)
    assert config.selection.limit == 5
    assert config.engine.vllm == VllmOptions(dtype="float16", max_num_seqs=4)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"limit": 3, "selection": {"limit": 3}}, "gives limit twice: also as selection.limit"),
        ({"part": "1/2", "worker": "1/2"}, "gives worker and part, which are the same"),
        ({"limt": 3}, r"has no field 'limt': did you mean limit"),
        ({"selection": {"limt": 3}}, r"has no field 'selection.limt': did you mean limit"),
        (
            {"worker": "5/4"},
            "is wrong at run.worker: must be i/n with i from 1 to n, for example 1/4, not '5/4'",
        ),
        ({"sample": 0}, "is wrong at selection.sample: must be at least 1, not 0"),
        ({"sample": 1, "per_class": 1}, "is wrong at selection: --per-class and --sample both draw stickers"),
        ({"engine": "openai"}, "is wrong at engine: the engine openai needs the address of its server"),
        ({"engine": "vlm"}, "is wrong at engine.kind: must be vllm or openai, not 'vlm': did you mean vllm"),
        ({"server": 3}, "is wrong at engine.server: "),
        ({"selection": 3, "limit": 1}, "is wrong at selection: "),
    ],
    ids=str,
)
def test_a_slip_is_named_with_its_place(fields, words):
    with pytest.raises(ValueError, match=f"^the describe configuration {words}"):
        build_describe_config(None, LEAST, fields)


@pytest.mark.parametrize("lacking", LEAST)
def test_a_field_that_is_missing_is_named(lacking):
    fields = {name: value for name, value in LEAST.items() if name != lacking}
    place = f"{'run' if lacking == 'out' else 'corpus'}.{lacking}"
    with pytest.raises(ValueError, match=f"lacks the field '{place}'"):
        build_describe_config(None, fields)
