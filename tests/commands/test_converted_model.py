"""The whole road of somebody's released checkpoint: .pth, convert, import-mg, eval; its own figures."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from released_layout import released_state
from safetensors.torch import load_file
from slow_reference import reference
from torch import Tensor
from transformers import BertConfig, BertModel, BertTokenizer
from typer.testing import CliRunner

from mghft.cli import app
from mghft.model import MGHFT

Call = Callable[..., Any]
TESTS = Path(__file__).parents[1]
GOLDEN = TESTS / "golden" / "a"
SIDE = 64
LABELS = ("cold", "warm", "green")
WORDS = (
    "content",
    "style",
    "intention",
    "details",
    "cold",
    "warm",
    "green",
    "square",
    "a",
    "is",
    "the",
    ".",
    ":",
)


@pytest.fixture
def mghft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls a command; beside a corpus, annotations in the released format and a checkpoint."""
    for name in ("annotations", "data"):
        shutil.copytree(TESTS / "old_runs" / name, tmp_path / name)
    shutil.copy(TESTS / "old_runs" / "squares.md", tmp_path)
    monkeypatch.chdir(tmp_path)
    golden = load_file(GOLDEN / "official_state_dict.safetensors")
    text = {name: tensor for name, tensor in golden.items() if name.startswith("text_model.")}
    state = released_state((1, 0, 1, 0), classes=3)
    # Otherwise every sticker would look alike to random weights.
    state["vision_model.patch_embed1.proj.weight"] *= 10
    state["pos_embed"] *= 0.1
    options = argparse.Namespace(input_size=SIDE, data_path=Path("somewhere"))
    content = {"model": {**state, **text}, "epoch": 49, "args": options, "best_acc": np.float64(71.0)}
    torch.save(content, "checkpoint.pth")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    Path("vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizer("vocab.txt").save_pretrained("words")

    def call(*arguments: object, code: int | None = 0) -> Any:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert code is None or result.exit_code == code, (result.stderr, result.exc_info)
        return result

    call(
        *("convert", "checkpoint.pth", "converted", "--text-encoder", "bert", "--text-heads", 4),
        *("--tokenizer", "words"),
    )
    call("data", "import-mg", "annotations", "squares.md", "--data", "data", "--out", "imported")
    return call


ON = ("--card", "squares.md", "--data", "data", "--descriptions", "imported", "--text-encoder", "bert")


def released_logits(ids: list[str]) -> Tensor:
    """[n, 3] in float64: pixels, words and network by other code than ours."""
    raw = {}
    for path in Path("annotations").rglob("*.json"):
        for row in json.loads(path.read_text(encoding="utf-8"))["annotations"]:
            raw[f"{row['topic']}/{row['file_name']}"] = row["text"]
    golden = load_file(GOLDEN / "official_state_dict.safetensors")
    bert = BertModel(BertConfig(**json.loads((GOLDEN / "config.json").read_text())["bert"])).eval()
    bert.load_state_dict({k.removeprefix("text_model."): v for k, v in golden.items()}, strict=False)
    tokens = BertTokenizer("vocab.txt")(
        [raw[name].lower() for name in ids],
        padding="max_length",
        truncation=True,
        max_length=64,
        return_tensors="pt",
    )
    with torch.no_grad():
        states = bert(**tokens, output_hidden_states=True).hidden_states
    features = torch.stack(states[-4:]).mean(0).mean(1)
    resized = round(SIDE / 0.875)
    edge = (resized - SIDE) // 2
    images = []
    for name in ids:
        picture = (
            Image.open(Path("data") / name)
            .convert("RGB")
            .resize((resized, resized), Image.Resampling.BICUBIC)
        )
        pixels = np.asarray(picture.crop((edge, edge, edge + SIDE, edge + SIDE)), dtype=np.float64) / 255
        images.append((pixels - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225))
    model = MGHFT.from_pretrained("converted").double()
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    with torch.no_grad():
        return reference(model, pixels, features.double().unsqueeze(1).expand(-1, 4, -1)).logits


def test_converted_checkpoint_gives_its_own_figures(mghft: Call) -> None:
    mghft(
        *("eval", "--model", "converted", *ON, "--split", "test", "--out", "report"),
        *("--batch-size", 2, "--workers", 0, "--cache-dir", "cache"),
    )
    rows = pq.read_table("report/predictions.parquet").to_pylist()
    ours = {row["id"]: row for row in rows if row["system"] == "MGHFT"}
    ids = sorted(ours)
    expected = released_logits(ids).softmax(1)
    predicted = [LABELS[index] for index in expected.argmax(1).tolist()]
    # A test in which one class is always right would show nothing.
    assert set(predicted) == set(LABELS)
    assert [max(LABELS, key=ours[name]["probabilities"].get) for name in ids] == predicted
    found = torch.tensor(
        [[ours[name]["probabilities"][label] for label in LABELS] for name in ids], dtype=torch.float64
    )
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    report = json.loads(Path("report/report.json").read_text(encoding="utf-8"))
    right = [ours[name]["label"] == label for name, label in zip(ids, predicted, strict=True)]
    assert report["splits"]["test"]["all"]["MGHFT"]["accuracy"] == pytest.approx(sum(right) / len(right))
    assert "curves" not in Path("report/report.md").read_text()
    assert report["runs"] == {} and "Training curves" not in Path("report/index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "converted"), "give --card, --data, --descriptions, --text-encoder too"),
        (("--model", "words", *ON), "words is no model folder: it has no config.json"),
        (("--model", "converted", *ON, "--view-texts", "all"), "--view-texts"),
        (("--card", "squares.md"), "there is nothing to evaluate"),
    ],
)
def test_what_an_evaluation_of_a_model_lacks_is_said(
    mghft: Call, arguments: tuple[str, ...], message: str
) -> None:
    result = mghft("eval", *arguments, "--out", "report", code=None)
    assert result.exit_code != 0
    error = result.stderr + str(result.exception or "")
    assert message in error and not Path("report").exists()


def test_released_texts_need_the_full_text(mghft: Call) -> None:
    shutil.copytree(TESTS / "old_runs" / "described", "described")
    for shard in Path("described").glob("*.parquet"):
        table = pq.read_table(shard)
        column = table.column_names.index("raw")
        empty = pa.nulls(table.num_rows, table.schema.field("raw").type)
        pq.write_table(table.set_column(column, "raw", empty), shard)
    on = [*ON, "--descriptions", "described"]
    result = mghft("eval", "--model", "converted", *on, "--out", "report", code=None)
    assert "lack the column 'raw'" in result.stderr + str(result.exception or "")
