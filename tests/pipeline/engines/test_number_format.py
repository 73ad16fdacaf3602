"""What "auto" means for the number format of vLLM: on a CPU what it computes fast, settled before the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mghft.pipeline import processor as processor_module
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.describe.config import build_describe_config
from mghft.pipeline.describe.prepare import PreparedRun, prepare_run
from mghft.pipeline.engines import factory, number_format
from mghft.pipeline.engines.number_format import fast_format
from mghft.pipeline.engines.options import EngineOptions
from mghft.pipeline.processor import processor_flags
from mghft.pipeline.prompting.load import load_pack
from mghft.pipeline.runs.manifest import fingerprint

OLD_RUNS = Path(__file__).parents[2] / "old_runs"


@pytest.fixture
def processor(tmp_path, monkeypatch):
    """A processor of these flags, on which bfloat16 pays or does not, without a GPU."""

    def set_up(flags: str, *, pays: bool = True, gpu: bool = False) -> None:
        (tmp_path / "cpuinfo").write_text(
            f"processor\t: 0\nflags\t\t: fpu {flags}\nbugs\t\t: amx_bf16\n\nprocessor\t: 1\n",
            encoding="utf-8",
        )
        monkeypatch.setattr(processor_module, "_CPUINFO", tmp_path / "cpuinfo")
        monkeypatch.setattr(number_format, "_bfloat16_pays", lambda: pays)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)

    return set_up


@pytest.mark.parametrize(
    ("flags", "pays", "wanted"),
    [
        ("avx avx2", True, "float32"),
        ("avx2 avx512f avx512_vnni", True, "float32"),
        ("avx2 avx512f avx512_bf16", True, "bfloat16"),
        ("avx2 avx512f avx512_bf16", False, "float32"),
        ("avx512f amx_bf16 amx_tile", True, "bfloat16"),
        ("avx512f amx_tile amx_int8", True, "float32"),
    ],
)
def test_format_is_what_the_processor_computes_fast(processor, flags, pays, wanted):
    processor(flags, pays=pays)
    assert fast_format("owner/model") == wanted


def test_gpu_takes_the_format_of_the_checkpoint(processor):
    processor("avx2", gpu=True)
    assert fast_format("owner/model") == "auto"


def test_model_that_would_not_fit_in_float32_stays_in_half_precision(processor, tmp_path):
    processor("avx2")
    with (tmp_path / "model.safetensors").open("wb") as stream:
        stream.truncate(number_format.psutil.virtual_memory().total // 2)
    assert fast_format(str(tmp_path)) == "bfloat16"


def test_unknown_processor_has_no_flags(processor, tmp_path, monkeypatch):
    processor("amx_bf16")
    assert processor_flags() == {"fpu", "amx_bf16"}
    monkeypatch.setattr(processor_module, "_CPUINFO", tmp_path / "absent")
    assert processor_flags() == frozenset()


def test_trial_product_is_measured():
    assert number_format._bfloat16_pays() in (True, False)


def prepare(out: Path, **fields) -> PreparedRun:
    card, data = OLD_RUNS / "squares.md", OLD_RUNS / "data"
    config = build_describe_config(None, {"card": str(card), "data": data, "out": out}, fields)
    corpus, pack = load_corpus(load_card(str(card)), data), load_pack(config.prompt)
    return prepare_run(corpus, config.selection, pack, config.engine, config.image, config.run)


def test_settled_format_stands_in_the_manifest_and_reaches_the_engine(processor, tmp_path):
    processor("avx2")
    run = prepare(tmp_path / "run")
    assert run.manifest["engine"]["dtype"] == "float32" and run.engine.vllm.dtype == "float32"
    processor("avx512_bf16")
    assert prepare(tmp_path / "run").engine.vllm.dtype == "bfloat16"
    assert prepare(tmp_path / "run", **{"vllm.dtype": "float16"}).engine.vllm.dtype == "float16"


@pytest.mark.parametrize("begun", ["auto", "bfloat16", "float32"])
def test_run_begun_with_another_format_goes_on_with_it(processor, tmp_path, begun):
    processor("avx2")
    first = prepare(tmp_path / "run", **{"vllm.dtype": "float16"})
    manifest = json.loads(json.dumps(first.manifest))
    manifest["engine"]["dtype"] = begun
    manifest["fingerprint"] = fingerprint(manifest)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    run = prepare(tmp_path / "run")
    assert run.engine.vllm.dtype == begun and run.manifest["fingerprint"] == manifest["fingerprint"]
    assert prepare(tmp_path / "run", **{"vllm.dtype": "float16"}).manifest["engine"]["dtype"] == "float16"


def test_server_has_its_own_format(processor):
    processor("avx2")
    options = EngineOptions.model_validate(
        {"kind": "openai", "model": "m", "server": {"base_url": "http://localhost:1/v1"}}
    )
    assert factory.settle_format(options, factory.find_source(options)) is options
