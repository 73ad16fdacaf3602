"""The preview page of a run: one file, everything escaped, nothing loaded, what is left out is said."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
import shutil
from html.parser import HTMLParser

import pytest
from describe_bench import KnownEngine, config, make_corpus, run
from PIL import Image

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.selection import Selection
from mghft.pipeline.exports import preview_cards
from mghft.pipeline.exports.preview import PreviewOptions, write_preview
from mghft.pipeline.exports.preview_choice import choose_rows
from mghft.pipeline.images.transform import ImageTransform
from mghft.pipeline.runs.shards import SCHEMA, read_shard, shard_paths, write_shard

HOSTILE = "<script>alert(1)</script> \" ' & </script> \u2028 {{ 7 * 7 }}"


class Page(HTMLParser):
    """Stickers of a page (attributes, pictures, text), and every element's attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.stickers, self.tags, self._inside = text, [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag == "article":
            self._inside = {**given, "pictures": [], "text": ""}
            self.stickers.append(self._inside)
        if tag == "img" and self._inside is not None:
            self._inside["pictures"].append(given)

    def handle_endtag(self, tag):
        if tag == "article":
            self._inside = None

    def handle_data(self, data):
        if self._inside is not None:
            self._inside["text"] += data

    def ids(self):
        return [sticker["data-id"] for sticker in self.stickers]


def answers(request, text):
    number = int(request.key.sticker_id[-8:-4])
    if number == 3:
        return f"no JSON but {HOSTILE}"
    return json.dumps({**json.loads(text), "style": HOSTILE}) if number == 2 else text


@pytest.fixture
def card(tmp_path):
    return make_corpus(tmp_path / "data", 20)


@pytest.fixture
def folder(card, tmp_path):
    run(config(card, tmp_path / "out"), KnownEngine(answers, backwards=False))
    return tmp_path / "out"


def preview_of(folder, data=None, out=None, **options):
    return write_preview(folder, PreviewOptions(**options), data=data, out=out)


def page_of(folder, **options):
    return Page(preview_of(folder, **options).path.read_text(encoding="utf-8"))


def picture(source):
    kind, content = source.split(",")
    assert kind == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_every_sticker_has_its_views_its_class_and_its_own_picture(folder, card):
    page = page_of(folder, data=card.parent)
    assert page.ids() == [f"images/{number:04d}.png" for number in range(20)]
    for number, sticker in enumerate(page.stickers):
        assert sticker["data-label"] == ("dark" if number % 2 else "bright")
        assert sticker["data-split"] == ("test" if number % 5 == 0 else "train")
        red, green, blue = picture(sticker["pictures"][0]["src"]).convert("RGB").getpixel((9, 9))
        assert abs(red - number) < 8 and green < 8 and abs(blue - 128) < 8
        if number not in (2, 3):
            for view in ("content", "style", "intention", "details"):
                assert f"{view} of {number}-0-128" in sticker["text"]


def test_failed_sticker_shows_reason_and_the_answer_collapsed(folder, card):
    sticker = page_of(folder, data=card.parent).stickers[3]
    assert sticker["data-status"] == "failed"
    assert "the answer is no valid JSON" in sticker["text"]
    assert f"no JSON but {HOSTILE}" in sticker["text"]
    described = page_of(folder, data=card.parent).stickers[4]
    assert "what the model answered" not in described["text"]


def test_text_of_strangers_becomes_no_element(folder, card):
    page = page_of(folder, data=card.parent)
    assert " ".join(HOSTILE.split()) in page.stickers[2]["text"]
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not [name for _, given in page.tags for name in given if name.startswith("on")]
    assert html.escape("<script>alert(1)", quote=False) in page.text


def test_ids_and_labels_with_quotes_stay_inside_their_attributes(folder):
    name = "a\"><img src=x onerror='alert(1)'>.png"
    path = shard_paths(folder)[0]
    rows = read_shard(path, SCHEMA.names).to_pylist()
    rows[0].update(sticker_id=name, label_name=name, split=name)
    write_shard(path, rows, "fingerprint")
    page = page_of(folder)
    assert page.stickers[0]["data-id"] == page.stickers[0]["data-label"] == name
    assert not [tag for tag, _ in page.tags if tag == "img"]


def test_page_loads_nothing_and_allows_its_own_script_alone(folder, card):
    page = page_of(folder, data=card.parent)
    for _, given in page.tags:
        assert given.get("src", "data:").startswith("data:")
        assert given.get("href", "#").startswith("#")
    assert not re.search(r"@import|url\(|https?:", page.text)
    policy = next(g["content"] for _, g in page.tags if "Policy" in g.get("http-equiv", ""))
    assert policy.startswith("default-src 'none'; img-src data:; ")
    for tag in ("style", "script"):
        content = re.search(rf"<{tag}>(.*)</{tag}>", page.text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_limit_is_said_and_only_its_pictures_are_read(folder, card, monkeypatch):
    read = []
    monkeypatch.setattr(
        preview_cards, "read_image", lambda root, path: (read.append(path), (root / path).read_bytes())[1]
    )
    page = preview_of(folder, data=card.parent, limit=5)
    assert page.shown == len(read) == 5
    assert page.notes == [
        "5 of 20 stickers are on the page (the first), 15 are left out: "
        "raise --limit, take --all, or draw some with --sample"
    ]
    assert page.notes[0] in page.path.read_text(encoding="utf-8")


def test_without_a_limit_500_stickers_are_shown(folder):
    path = shard_paths(folder)[0]
    row = read_shard(path, SCHEMA.names).to_pylist()[0]
    write_shard(path, [{**row, "sticker_id": f"{n}.png"} for n in range(600)], "fingerprint")
    assert write_preview(folder).shown == 500
    assert preview_of(folder, sample=550).shown == 550


def test_sample_depends_on_the_seed_alone_and_keeps_the_order(folder):
    first, again, other = (page_of(folder, sample=6, seed=seed).ids() for seed in (3, 3, 4))
    assert first == again == sorted(first)
    assert len(set(first)) == 6
    assert first != other


def test_sample_is_that_of_describe_whatever_the_order_of_the_rows(folder, card):
    path = shard_paths(folder)[0]
    write_shard(path, read_shard(path, SCHEMA.names).to_pylist()[::-1], "fingerprint")
    wanted = Selection(sample=6, seed=3).choose(load_corpus(load_card(card), card.parent))
    assert sorted(page_of(folder, sample=6, seed=3).ids()) == sorted(sticker.id for sticker in wanted)


def test_only_failed(folder):
    assert page_of(folder, only="failed").ids() == ["images/0003.png"]
    assert len(page_of(folder, only="ok").ids()) == 19


def test_embedded_images_need_no_corpus(card, tmp_path):
    run(config(card, tmp_path / "out", embed_images=True), KnownEngine(backwards=False))
    shutil.rmtree(card.parent)
    page = page_of(tmp_path / "out")
    assert all(picture(sticker["pictures"][0]["src"]).size == (24, 24) for sticker in page.stickers)


def test_without_corpus_the_page_has_no_pictures_and_says_so(folder):
    written = write_preview(folder)
    assert "the page has no pictures" in written.notes[0]
    assert not any(sticker["pictures"] for sticker in Page(written.path.read_text()).stickers)


def test_picture_that_cannot_be_read_has_its_reason(folder, card):
    (card.parent / "images" / "0005.png").unlink()
    (card.parent / "images" / "0006.png").write_bytes(b"nothing")
    page = page_of(folder, data=card.parent)
    assert "the file is missing" in page.stickers[5]["text"]
    assert "not the one that was described" not in page.stickers[5]["text"]
    assert "the file is no image that can be read" in page.stickers[6]["text"]


def test_picture_that_has_changed_since_is_marked(folder, card):
    Image.new("RGB", (24, 24), "red").save(card.parent / "images" / "0005.png")
    page = page_of(folder, data=card.parent)
    changed = [s["data-id"] for s in page.stickers if "the file has changed since" in s["text"]]
    assert changed == ["images/0005.png"]


def test_large_pictures_are_reduced(card, tmp_path):
    Image.new("RGB", (1200, 600), "red").save(card.parent / "images" / "0000.png")
    run(config(card, tmp_path / "out"), KnownEngine(backwards=False))
    for options, size in (({}, (160, 80)), ({"view_size": 64}, (64, 32))):
        sticker = page_of(tmp_path / "out", data=card.parent, **options).stickers[0]
        assert picture(sticker["pictures"][0]["src"]).size == size


def test_one_shard_is_in_memory_at_a_time(folder, card, monkeypatch):
    """The next shard is read only when the cards of the one before are written."""
    steps = []
    read, show = preview_cards.read_shard, preview_cards._card
    monkeypatch.setattr(preview_cards, "read_shard", lambda p, c: (steps.append(p.name), read(p, c))[1])
    monkeypatch.setattr(preview_cards, "_card", lambda *a, **k: (steps.append("card"), show(*a, **k))[1])
    write_preview(folder, data=card.parent)
    names = [path.name for path in shard_paths(folder)]
    assert steps == [step for name, n in zip(names, (8, 8, 4), strict=True) for step in [name, *["card"] * n]]


def test_shard_that_became_shorter_is_said(folder):
    chosen = choose_rows(folder, only=None, sample=None, seed=0, limit=None)
    path = shard_paths(folder)[1]
    write_shard(path, read_shard(path, SCHEMA.names).to_pylist()[:5], "fingerprint")
    with pytest.raises(ValueError, match="became shorter while it was read: write the page again"):
        list(preview_cards.sticker_cards(chosen, None, ImageTransform()))


def test_header_has_the_counts_and_the_warnings(card, tmp_path):
    make_corpus(card.parent, 40)
    same = '{"content": "a cat", "style": "flat", "intention": "greet", "details": "%s"}'
    run(config(card, tmp_path / "out"), KnownEngine(lambda request, _: same % request.key.sticker_id[-8:-4]))
    text = html.unescape(page_of(tmp_path / "out").text)
    assert "40 of 40 stickers share one text in the view content: 'a cat'" in text
    assert "<b>40</b>" in text
    assert "prompt pack <code>multiview</code>" in text


def test_an_older_preview_is_replaced_and_another_file_never(folder, tmp_path):
    write_preview(folder)
    assert page_of(folder, only="failed").ids() == ["images/0003.png"]
    notes = tmp_path / "notes.html"
    notes.write_text("mine", encoding="utf-8")
    with pytest.raises(ValueError, match="is no preview"):
        write_preview(folder, out=notes)
    assert notes.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "--limit must be at least 1"),
        ({"sample": -1}, "--sample must be at least 1"),
        ({"only": "broken"}, "--only is 'broken'"),
        ({"view_size": 5000}, "--view-size is 5000"),
    ],
)
def test_options_without_meaning_are_refused(folder, options, message):
    with pytest.raises(ValueError, match=message):
        preview_of(folder, **options)
    assert not (folder / "preview.html").exists()


def test_missing_corpus_is_said(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        write_preview(folder, data=tmp_path / "nowhere")
