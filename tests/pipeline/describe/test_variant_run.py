"""Descriptions made of one variant of a card serve every other: ids do not depend on language and task."""

from describe_bench import KnownEngine, run
from met_meme_copy import write_csv, write_images

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.describe.config import DescribeConfig
from mghft.train.data.descriptions import read_texts


def test_descriptions_of_a_variant_serve_another_task_and_other_splits(tmp_path):
    root = tmp_path / "memes"
    for language, letter, name in (("en", "E", "image_ ({}).jpg"), ("zh", "C", "Image_({}).jpg")):
        header = ["file_name", "sentiment category", "intention detection"]
        rows = [[name.format(i), "2(love)", f"{i % 5 + 1}(x)"] for i in range(1, 6)]
        write_csv(root / f"label_{letter}.csv", [header, *rows], encoding="gbk")
        write_images(root, f"{letter}images", language, only=list(range(1, 6)))
    (tmp_path / "own.csv").write_text("id,split\nChinese/Image_(2).jpg,train\nimage_ (3).jpg,test\n")
    config = DescribeConfig(card="met-meme:zh", data=root, out=tmp_path / "run", decode_workers=0)
    assert run(config, KnownEngine())["ok"] == 5
    corpus = load_corpus(load_card(f"met-meme:intention@{tmp_path}/own.csv"), root)
    assert [sticker.id for sticker in corpus.split("train")] == ["Chinese/Image_(2).jpg"]
    found = read_texts(config.run.out, ["content"]).of(corpus.stickers)
    assert found.mask.tolist() == [[False], [True]]
