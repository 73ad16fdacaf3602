"""A folder with a name that is no UTF-8, described."""

import json
import os

import pytest
import yaml
from datasets import load_dataset
from describe_bench import KnownEngine, config, make_corpus, run
from PIL import Image

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.runs.shards import read_descriptions
from mghft.pipeline.runs.status import verify_run

CARD = """---
pretty_name: Faces
mghft:
  adapter: folder
  labels: [joy, rage]
---
"""


@pytest.mark.parametrize("embed", [False, True])
def test_a_name_that_is_no_utf8_is_described(tmp_path, embed):
    card, root, out = tmp_path / "card.md", tmp_path / "data", tmp_path / "out"
    card.write_text(CARD, encoding="utf-8")
    (root / "joy").mkdir(parents=True)
    for number, name in enumerate([b"a\xff.png", b"b.png"]):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(root / "joy" / os.fsdecode(name))
    run(config(card, out, data=root, embed_images=embed), KnownEngine())
    rows = sorted(read_descriptions(out).to_pylist(), key=lambda row: row["sticker_id"])
    assert [(row["sticker_id"], row["path"], row["content"]) for row in rows] == [
        (r"joy/a\xff.png", r"joy/a\xff.png", "content of 0-0-0"),
        ("joy/b.png", "joy/b.png", "content of 1-0-0"),
    ]
    assert verify_run(out, load_corpus(load_card(card), root)) == []


@pytest.mark.parametrize("title", ["Stickers 😀 of 猫", "a: b # c", "two\nlines --- and \x85 more", "no"])
def test_readme_of_a_corpus_with_an_odd_name_is_read_by_every_reader(tmp_path, title):
    card = make_corpus(tmp_path / "data", 2)
    card.write_text(card.read_text().replace("Squares", json.dumps(title, ensure_ascii=False)), "utf-8")
    run(config(card, tmp_path / "out"), KnownEngine())
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    head = text.split("\n---\n")[0].removeprefix("---\n")
    wanted = f"Multi-view descriptions of {load_card(card).title}"
    for loader in (yaml.SafeLoader, yaml.CSafeLoader):
        assert yaml.load(head, loader)["pretty_name"] == wanted
    assert load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache")).num_rows == 2
