import pytest

from mghft.pipeline.text import escape_markdown, first_and_more, one_line, plural


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
