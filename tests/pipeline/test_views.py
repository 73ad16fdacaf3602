"""How answers are read: what counts as four views and what is refused with a reason."""

import json

import pytest

from mghft.pipeline.views import (
    VIEWS,
    ViewError,
    check_view,
    parse_view,
    parse_views,
    repeats_itself,
    views_schema,
)

GOOD = {view: f"the {view} of a cat" for view in VIEWS}


def test_order_of_the_views():
    assert VIEWS == ("content", "style", "intention", "details")


def test_schema_asks_for_every_view_and_nothing_else():
    schema = views_schema()
    assert (schema["required"], schema["additionalProperties"]) == (list(VIEWS), False)


def test_good_answer_is_read():
    assert parse_views(json.dumps(GOOD), "stop") == GOOD


def test_views_come_in_canonical_order():
    backwards = dict(reversed(GOOD.items()))
    assert list(parse_views(json.dumps(backwards), "stop")) == list(VIEWS)


def test_keys_that_are_no_views_are_dropped():
    assert parse_views(json.dumps({**GOOD, "label": "anger"}), "stop") == GOOD


def test_white_space_is_folded():
    assert check_view("style", " a\n\n  b\tc ") == "a b c"


def test_raw_control_characters_inside_a_string_are_read():
    answer = json.dumps(GOOD).replace("the style of", "the style\nof")
    assert parse_views(answer, "stop")["style"] == GOOD["style"]


def test_cut_answer_is_refused_even_when_it_parses():
    with pytest.raises(ViewError, match="cut at the token limit"):
        parse_views(json.dumps(GOOD), "length")


def test_missing_key_is_named():
    answer = json.dumps({view: text for view, text in GOOD.items() if view != "intention"})
    with pytest.raises(ViewError, match="lacks the view intention"):
        parse_views(answer, "stop")


@pytest.mark.parametrize("answer", ["", "a cat", '{"content": "a', json.dumps(GOOD) + "x"])
def test_no_json_is_refused(answer):
    with pytest.raises(ViewError, match="no valid JSON"):
        parse_views(answer, "stop")


@pytest.mark.parametrize("answer", ["[" * 100_000, '{"content": ' + "9" * 5000 + "}"])
def test_json_that_python_will_not_read_is_refused(answer):
    with pytest.raises(ViewError, match="no valid JSON"):
        parse_views(answer, "stop")


@pytest.mark.parametrize(("answer", "kind"), [("[]", "list"), ("null", "NoneType"), ('"cat"', "str")])
def test_json_that_is_no_object_is_refused(answer, kind):
    with pytest.raises(ViewError, match=f"a JSON {kind}, expected an object"):
        parse_views(answer, "stop")


@pytest.mark.parametrize("text", ["", "  \n", "...", "—"])
def test_view_without_a_word_is_empty(text):
    with pytest.raises(ViewError, match="the view details is empty"):
        parse_views(json.dumps({**GOOD, "details": text}), "stop")


@pytest.mark.parametrize("value", [None, 3, ["a"], {"a": "b"}])
def test_view_that_is_no_text_is_refused(value):
    with pytest.raises(ViewError, match=r"the view style is a .*, expected text"):
        parse_views(json.dumps({**GOOD, "style": value}), "stop")


def test_lone_surrogate_becomes_text_that_utf8_can_hold():
    answer = json.dumps(GOOD).replace("the style", "\\ud83d style")
    parse_views(answer, "stop")["style"].encode("utf-8")


def test_words_of_other_scripts_are_words():
    assert check_view("content", "一只猫 😀") == "一只猫 😀"


def test_loop_is_refused():
    with pytest.raises(ViewError, match="the view content repeats itself"):
        check_view("content", "a cat " + "very very happy " * 10)


@pytest.mark.parametrize(
    "text",
    [
        "no no no no",
        "a yellow face with two hearts for eyes, a wide open smile and two hearts beside its round cheeks",
        "ha ha ha ha says the cat that sits on a blue chair and looks at the moon with two big eyes",
    ],
)
def test_honest_repetition_is_no_loop(text):
    assert not repeats_itself(text)


def test_single_view_may_be_plain_text():
    assert parse_view("a flat drawing", "stop", "style") == "a flat drawing"


def test_single_view_may_be_json():
    assert parse_view('{"style": "a flat drawing"}', "stop", "style") == "a flat drawing"


def test_single_view_that_was_cut_is_refused():
    with pytest.raises(ViewError, match="answer for style was cut"):
        parse_view("a flat", "length", "style")
