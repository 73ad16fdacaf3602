"""The whole road of somebody's checkpoint of LORA or TGCA-PVT: .pth, convert, eval; its own figures."""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from released_peer_layout import released_peer_state
from safetensors.torch import load_file
from slow_peers import slow_peer
from torch import Tensor
from transformers import BertConfig, BertModel, BertTokenizer
from typer.testing import CliRunner

from mghft.cli import app
from mghft.model.peers import load_peer

Call = Callable[..., Any]
TESTS = Path(__file__).parents[1]
GOLDEN = TESTS / "golden" / "a"
SIDE, LENGTH = 64, 30
LABELS = ("cold", "warm", "green")
WORDS = ("good", "night", "never", "!", "sun", "rain")
TEXTS = ("Good night!", "", "never rain", "SUN sun sun")
SYSTEMS = {"lora-v": "LORA-V", "lora": "LORA", "tgca-pvt": "TGCA-PVT (topic context: self)"}


@pytest.fixture
def mghft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls a command; beside a corpus whose stickers have words on them."""
    shutil.copytree(TESTS / "old_runs" / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    table = Path("data/stickers.csv")
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = [
        f"{row['path']},{row['label']},{row['split']},{TEXTS[number % 4]}" for number, row in enumerate(rows)
    ]
    table.write_text("\n".join(["path,label,split,text", *lines, ""]), encoding="utf-8")
    card = (TESTS / "old_runs" / "squares.md").read_text(encoding="utf-8")
    Path("squares.md").write_text(card.replace("part: part", "text: text"), encoding="utf-8")
    Path("vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    BertTokenizer("vocab.txt").save_pretrained("words")

    def call(*arguments: object) -> Any:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, (result.stderr, result.exc_info)
        return result

    return call


def released_probabilities(ids: list[str], *, reads_text: bool) -> Tensor:
    """[n, 3] in float64: pixels, words and network by other code than ours."""
    with Path("data/stickers.csv").open(encoding="utf-8") as file:
        said = {row["path"]: row["text"] for row in csv.DictReader(file)}
    bert = BertModel(BertConfig(**json.loads((GOLDEN / "config.json").read_text())["bert"])).eval()
    golden = load_file(GOLDEN / "official_state_dict.safetensors")
    bert.load_state_dict({k.removeprefix("text_model."): v for k, v in golden.items()}, strict=False)
    tokens = BertTokenizer("vocab.txt")(
        [said[name].lower() for name in ids],
        padding="max_length",
        max_length=LENGTH,
        return_tensors="pt",
    )
    with torch.no_grad():
        states = bert(**tokens, output_hidden_states=True).hidden_states
    text = torch.stack(states[-4:]).mean(0).double() if reads_text else None
    resized = round(SIDE / 0.875)
    edge = (resized - SIDE) // 2
    images = []
    for name in ids:
        picture = Image.open(Path("data") / name).convert("RGB")
        picture = picture.resize((resized, resized), Image.Resampling.BICUBIC)
        pixels = np.asarray(picture.crop((edge, edge, edge + SIDE, edge + SIDE)), dtype=np.float64) / 255
        images.append((pixels - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225))
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    with torch.no_grad():
        return slow_peer(load_peer("converted").double(), pixels, text).logits.softmax(1)


@pytest.mark.parametrize("network", SYSTEMS)
def test_converted_checkpoint_gives_its_own_figures(mghft: Call, network: str) -> None:
    state = released_peer_state(network, (1, 0, 1, 0), classes=3)
    # Otherwise every sticker would look alike to random weights.
    state["vision_model.patch_embed1.proj.weight"] *= 10
    state["pos_embed"] *= 0.1
    golden = load_file(GOLDEN / "official_state_dict.safetensors")
    text = {name: tensor for name, tensor in golden.items() if name.startswith("text_model.")}
    reads_text = network != "lora-v"
    content = {
        "model": {**state, **(text if reads_text else {})},
        "args": argparse.Namespace(input_size=SIDE),
    }
    torch.save(content, "checkpoint.pth")
    into = ("--text-encoder", "bert", "--text-heads", 4, "--tokenizer", "words") if reads_text else ()
    mghft("convert", "checkpoint.pth", "converted", *into)
    mghft(
        *("eval", "--model", "converted", "--card", "squares.md", "--data", "data", "--split", "test"),
        *(("--text-encoder", "bert") if reads_text else ()),
        *("--out", "report", "--batch-size", 2, "--workers", 0, "--cache-dir", "cache"),
    )
    rows = pq.read_table("report/predictions.parquet").to_pylist()
    ours = {row["id"]: row for row in rows if row["system"] == SYSTEMS[network]}
    ids = sorted(ours)
    expected = released_probabilities(ids, reads_text=reads_text)
    # Probabilities that are all the same would show nothing.
    assert expected.std(0).max() > 1e-3
    found = torch.tensor([[ours[name]["probabilities"][label] for label in LABELS] for name in ids]).double()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
