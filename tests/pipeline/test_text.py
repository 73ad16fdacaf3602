import re

import pytest
import yaml

from mghft.pipeline.text import escape_markdown, first_and_more, one_line, plural, yaml_line


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a | b", r"a \| b"),
        ("two\nlines", "two lines"),
        ("<img src=x onerror=alert(1)>", r"\<img src=x onerror=alert(1)\>"),
        ("[link](javascript:1)", r"\[link\](javascript:1)"),
        ("a\\|b", r"a\\\|b"),
        ("&lt;b&gt;", r"\&lt;b\&gt;"),
        ("愤怒 100 %", "愤怒 100 %"),
    ],
)
def test_markup_of_strangers_stays_text(text: str, escaped: str) -> None:
    assert escape_markdown(text) == escaped


def test_lines_are_cut_and_lists_are_counted() -> None:
    assert one_line("a\n b\tc", 4) == "a b…"
    assert one_line(KeyError()) == "KeyError"
    assert first_and_more(["a", "b", "c"]) == "a, b, c"
    assert first_and_more(["a", "b", "c", "d", "e"], 2) == "a, b and 3 more"
    assert (plural(1, "sticker"), plural([], "sticker")) == ("1 sticker", "0 stickers")


@pytest.mark.parametrize(
    "value",
    [
        "Stickers 😀 of a 猫",
        "a: b # c",
        "---\n'quoted' \"twice\"\\",
        "\x07\x7f\x85\xa0\u2028\ufeff\ufffe",
        " blanks ",
        "no",
        "12",
        "",
        "word " * 200,
        ["no", "😀", "a, b", "x: y", "[z]"],
    ],
)
def test_line_of_yaml_is_read_back_by_every_reader(value):
    line = yaml_line("name", value)
    assert "\n" not in line and "\r" not in line
    assert yaml.safe_load(line) == {"name": value}
    assert yaml.load(line, yaml.CSafeLoader) == {"name": value}
    assert not re.search(r"\\u[dD][89a-fA-F]", line), "halves of a sign are none in YAML"


def test_lone_surrogate_does_not_spoil_a_line_of_yaml():
    assert yaml.safe_load(yaml_line("name", "a\udc80b")) == {"name": "a?b"}
