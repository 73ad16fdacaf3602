"""Packs as strangers' programs write them: the emoji of every sticker, icons left out, lists that lie."""

import json
import zipfile

import pytest
from image_bytes import encode
from PIL import Image
from sticker_files import lottie, square, tgs

from mghft.pipeline.audit.check import check_loaded
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus


def picture(form="WEBP", color=(200, 0, 0), side=16):
    return encode(Image.new("RGB", (side, side), color), form)


def write(root, files, stickers=()):
    """Files of a pack: text, what JSON holds, or bytes; pictures under the names of `stickers`."""
    pictures = {name: picture(color=(30 * n, 9, 9)) for n, name in enumerate(stickers)}
    for name, content in {**pictures, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, dict | list):
            content = json.dumps(content, ensure_ascii=False)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def load(root):
    return load_corpus(load_card("pack"), root)


def emoji(corpus):
    return {sticker.id: sticker.emoji for sticker in corpus.stickers}


WHATSAPP = {
    "android_play_store_link": "",
    "ios_app_store_link": "",
    "sticker_packs": [
        {
            "identifier": "1",
            "name": "Cuppy",
            "publisher": "Jane",
            "tray_image_file": "tray_Cuppy.png",
            "image_data_version": "1",
            "stickers": [
                {"image_file": "01.webp", "emojis": ["☕", "🙂"], "accessibility_text": "a cup"},
                {"image_file": "02.webp", "emojis": ["❤️"]},
            ],
        },
        {
            "identifier": "2",
            "name": "Cups again",
            "tray_image_file": "01.webp",
            "stickers": [{"image_file": "01.webp", "emojis": ["😭"]}, {"image_file": "gone.webp"}],
        },
    ],
}


def test_whatsapps_contents_of_two_packs(tmp_path) -> None:
    names = ["1/01.webp", "1/02.webp", "2/01.webp"]
    corpus = load(write(tmp_path, {"contents.json": WHATSAPP, "1/tray_Cuppy.png": picture("PNG")}, names))
    assert emoji(corpus) == {"1/01.webp": "☕ 🙂", "1/02.webp": "❤️", "2/01.webp": "😭"}
    assert [sticker.topic for sticker in corpus.stickers] == ["Cuppy", "Cuppy", "Cups again"]
    assert {(one.split, one.label, one.text) for one in corpus.stickers} == {("all", None, None)}
    assert "left out, 1 icon, cover or still of a pack: 1/tray_Cuppy.png" in corpus.notes
    assert "2 packs: Cuppy, Cups again" in corpus.notes
    assert "emoji of 3 of 3 stickers from contents.json" in corpus.notes


def test_entry_of_a_list_whose_file_is_gone_is_told(tmp_path) -> None:
    pack = {"name": "n", "stickers": [{"image_file": f"{n}.webp", "emojis": ["😀"]} for n in range(3)]}
    corpus = load(write(tmp_path, {"contents.json": pack}, ["0.webp", "1.webp"]))
    assert list(corpus.skipped) == [("2.webp", "its image is missing")]


SIGNAL = {
    "signal-cli": (
        "manifest.json",
        {
            "title": "Frogs",
            "author": "x",
            "cover": {"file": "c.webp", "emoji": ""},
            "stickers": [{"emoji": "🐸", "file": "a.webp", "contentType": "image/webp"}, {"file": "b.webp"}],
        },
    ),
    "signal-sticker-tool": (
        "stickers.yaml",
        "meta:\n  author: x\n  cover: c.webp\n  title: Frogs\n"
        "stickers:\n- chr: '🐸'\n  file: a.webp\n- file: b.webp\n",
    ),
    "packpath": (
        "config.yaml",
        "pack:\n  title: Frogs\n  author: x\n  cover: c.webp\nstickers:\n  a.webp: 🐸\n",
    ),
}


@pytest.mark.parametrize("program", SIGNAL)
def test_packs_of_signal(tmp_path, program) -> None:
    name, content = SIGNAL[program]
    corpus = load(write(tmp_path, {name: content}, ["a.webp", "b.webp", "c.webp"]))
    assert emoji(corpus) == {"a.webp": "🐸", "b.webp": ""}
    assert {sticker.topic for sticker in corpus.stickers} == {"Frogs"}


def test_folder_of_sticker_convert(tmp_path) -> None:
    files = {"emoji.txt": {"000": "😀", "001": "😢🎉"}, "title.txt": "Cats\n", "author.txt": "me"}
    files |= {"cover.png": picture("PNG")}
    corpus = load(write(tmp_path, files, ["000.webp", "001.webp"]))
    assert emoji(corpus) == {"000.webp": "😀", "001.webp": "😢🎉"}
    assert {sticker.topic for sticker in corpus.stickers} == {"Cats"}


@pytest.mark.parametrize("names", [["AQAD1", "AQAD2", "AQAD3"], ["0", "1", "10"]])
def test_answer_of_telegrams_bots(tmp_path, names) -> None:
    """Files are called by their unique ids, or numbered in the order of the answer."""
    stickers = [
        {
            "width": 512,
            "height": 512,
            "emoji": sign,
            "set_name": "frogs",
            "thumbnail": {"file_id": "t", "file_unique_id": f"T{number}"},
            "file_id": f"CAAC{number}",
            "file_unique_id": f"AQAD{number + 1}",
        }
        for number, sign in enumerate(("😀", "😢", "🔥"))
    ]
    answer = {"ok": True, "result": {"name": "frogs", "title": "Frogs", "stickers": stickers}}
    files = {f"{name}.tgs": tgs(square((n, 0, 0))) for n, name in enumerate(names)}
    corpus = load(write(tmp_path, {**files, "set.json": answer}))
    assert emoji(corpus) == {f"{name}.tgs": sign for name, sign in zip(names, "😀😢🔥", strict=True)}


def test_export_of_telegram_desktop(tmp_path) -> None:
    messages = [
        {
            "id": 1,
            "type": "message",
            "file": "stickers/AnimatedSticker.tgs",
            "thumbnail": "stickers/AnimatedSticker.tgs_thumb.jpg",
            "media_type": "sticker",
            "sticker_emoji": "😂",
        },
        {"id": 2, "type": "message", "text": "hello 😀"},
        {"id": 3, "file": "(File not included. Change data exporting settings to download.)", "text": ""},
    ]
    files = {
        "result.json": {"name": "chat", "messages": messages},
        "stickers/AnimatedSticker.tgs": tgs(square((9, 0, 0))),
        "stickers/AnimatedSticker.tgs_thumb.jpg": picture("JPEG"),
        "stickers/sticker.webp": picture(),
    }
    corpus = load(write(tmp_path, files))
    assert emoji(corpus) == {"stickers/AnimatedSticker.tgs": "😂", "stickers/sticker.webp": ""}


def test_animated_pack_of_line(tmp_path) -> None:
    """Its emoji are no text; of each sticker there are an animation, a still and a small picture."""
    info = {"packageId": 7, "title": {"ja": "かえる", "en": "Frogs"}, "author": {"en": "x"}}
    info["stickers"] = [{"id": number, "width": 320, "height": 270} for number in (11, 12, 13)]
    names = ["11@2x.png", "11_key@2x.png", "12@2x.png", "12_key@2x.png", "13@2x.png", "tab_on@2x.png"]
    names += ["tab_off@2x.png", "animation@2x/11@2x.png", "animation@2x/12@2x.png"]
    corpus = load(write(tmp_path, {"productInfo.meta": info}, names))
    assert list(emoji(corpus)) == ["13@2x.png", "animation@2x/11@2x.png", "animation@2x/12@2x.png"]
    assert {sticker.topic for sticker in corpus.stickers} == {"Frogs"}


def test_emoji_in_the_names_of_files(tmp_path) -> None:
    corpus = load(write(tmp_path, {}, ["001_👋🏽.webp", "002_❤️‍🔥_🤷‍♀️.webp", "plain.webp"]))
    assert emoji(corpus) == {
        "001_👋🏽.webp": "👋🏽",
        "002_❤️‍🔥_🤷‍♀️.webp": "❤️‍🔥 🤷‍♀️",
        "plain.webp": "",
    }


def test_unpacked_animation_is_a_sticker_and_not_a_list(tmp_path) -> None:
    corpus = load(write(tmp_path, {"a.json": lottie(square((255, 0, 0))), "emoji.txt": {"a": "🔥"}}))
    assert emoji(corpus) == {"a.json": "🔥"}
    assert not check_loaded(corpus, workers=0).problems


def test_file_that_is_no_image_is_told(tmp_path) -> None:
    corpus = load(write(tmp_path, {"a.mp3": b"ID3", "LICENSE.txt": "mine"}, ["1.webp"]))
    assert "left out, 1 file of no kind that is read: a.mp3" in corpus.notes


HOSTILE_LISTS = {
    "malformed": ("a.json", "{"),
    "RecursionError|malformed": ("a.json", "[" * 100_000),
    "the limit is 1048576": ("a.yaml", "- x\n" * 300_000),
    "malformed: while": ("a.yaml", "a: [b"),
}


@pytest.mark.parametrize("words", HOSTILE_LISTS)
def test_list_that_cannot_be_read_is_told_and_costs_no_sticker(tmp_path, words) -> None:
    name, content = HOSTILE_LISTS[words]
    corpus = load(write(tmp_path, {name: content}, ["1.webp"]))
    assert emoji(corpus) == {"1.webp": ""}
    (note,) = (note for note in corpus.notes if note.startswith(f"the list {name} is not read"))
    assert words.rpartition("|")[2] in note


def test_list_of_references_to_references_does_not_grow(tmp_path) -> None:
    """YAML's billion laughs: one object under a billion names is visited once."""
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
    corpus = load(write(tmp_path, {"a.yaml": "\n".join(lines)}, ["1.webp"]))
    assert emoji(corpus) == {"1.webp": ""}


@pytest.mark.parametrize("name", ["../1.webp", "/etc/passwd", "C:\\1.webp", "a\0b", 7, None, {"x": 1}])
def test_list_that_names_what_it_must_not_is_harmless(tmp_path, name) -> None:
    entries = [{"image_file": name, "emojis": ["😀"]}, {"image_file": "1.webp", "emojis": {"a": 1}}]
    corpus = load(write(tmp_path / "pack", {"contents.json": {"stickers": entries}}, ["1.webp"]))
    assert [sticker.id for sticker in corpus.stickers] == ["1.webp"]


def test_whole_archive_as_sticker_maker_writes_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "cats.wastickers"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("title.txt", "Cats")
        archive.writestr("author.txt", "me")
        archive.writestr("1577836800.png", picture("PNG", side=96))
        for number in range(3):
            archive.writestr(f"{number}.webp", picture(color=(80 * number, 0, 0)))
    corpus = load(path)
    assert emoji(corpus) == {"0.webp": "", "1.webp": "", "2.webp": ""}
    assert {sticker.topic for sticker in corpus.stickers} == {"Cats"}
    found = check_loaded(corpus, workers=0)
    assert (found.problems, found.counts) == ([], {"all": {"(none)": 3}})


def test_archive_under_another_card_and_splits_of_a_pack_are_answered_with_the_way_out(tmp_path) -> None:
    corpus = load(write(tmp_path / "pack", {}, ["1.webp"]))
    with pytest.raises(ValueError, match="packs have no labels, so write a table of them"):
        corpus.split("train")
    (tmp_path / "a.wastickers").write_bytes(b"PK")
    with pytest.raises(FileNotFoundError, match="goes with the card 'pack'"):
        load_corpus(load_card("folder"), tmp_path / "a.wastickers")
