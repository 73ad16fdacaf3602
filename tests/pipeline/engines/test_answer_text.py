"""The answer inside a model's text: behind its thoughts, out of its wrappings, after echoes and drafts."""

import json

import pytest

from mghft.pipeline.engines.answer_text import Answer, read_answer
from mghft.pipeline.views import views_schema

KEYS = ("a", "c")
ANSWER = '{"a":"b","c":"d"}'
DRAFT = '{"a":"draft","c":"draft"}'


@pytest.mark.parametrize(
    "text",
    [
        ANSWER,
        f"  {ANSWER}\n",
        f"\ufeff\n{ANSWER}",
        f"```json\n{ANSWER}\n```",
        f"Here you are: {ANSWER} I hope it helps {{really}}.",
        f"A set {{1, 2}} and then {ANSWER}",
        f"<answer>{ANSWER}</answer>",
        f"<|begin_of_box|>{ANSWER}<|end_of_box|>",
        f"[{ANSWER}]",
        json.dumps(ANSWER),
    ],
)
def test_json_is_found_in_what_models_wrap_it_in(text):
    assert read_answer(text, KEYS) == Answer(ANSWER)


@pytest.mark.parametrize(
    "thoughts",
    [
        f"<think>maybe {DRAFT}</think>",
        f"maybe {DRAFT}, but no.\n</think>\n\n",
        f"</think>maybe {DRAFT}</think>",
        f"<think>first {DRAFT}</think> then <think>second {DRAFT}</think>",
        f"<thinking>{DRAFT}</thinking>",
        f"<thought>{DRAFT}</thought>",
        f"<reasoning>{DRAFT}</reasoning>",
        f"<seed:think>{DRAFT}</seed:think>",
        f"[THINK]{DRAFT}[/THINK]",
        f"◁think▷{DRAFT}◁/think▷",
        f"<|begin_of_thought|>{DRAFT}<|end_of_thought|>",
        f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>",
        f"<|channel|>analysis<|message|>{DRAFT}<|end|><|channel|>final <|constrain|>json<|message|>",
        f"analysisMaybe {DRAFT} or not.assistantfinal",
        f"<|channel>thought\n{DRAFT}<channel|>",
        "<think>\n\n</think>\n\n",
    ],
)
def test_thoughts_are_no_answer(thoughts):
    assert read_answer(f"{thoughts}{ANSWER}", KEYS) == Answer(ANSWER)
    assert read_answer(f"{thoughts}A cat waves.", KEYS) == Answer("A cat waves.")


@pytest.mark.parametrize("mark", ["<think>", "[THINK]", "◁think▷", "<|channel|>analysis<|message|>"])
def test_thoughts_that_do_not_end_hold_no_answer(mark):
    assert read_answer(f"{mark}maybe {DRAFT}, let me see", KEYS) == Answer("", unfinished=True)


def test_marks_in_a_stickers_own_words_are_no_thoughts():
    text = json.dumps({"a": "a cat <think> hard </think>", "c": "d"})
    assert read_answer(text, KEYS) == Answer(text)


@pytest.mark.parametrize(
    "before",
    [
        json.dumps(views_schema(KEYS)),
        f"The schema is {json.dumps(views_schema(KEYS))}. The answer is:",
        f"For example {DRAFT}. Now the sticker:",
        '{"a": "only one"}',
        '{"sticker": {"text": "ok"}}',
    ],
)
def test_what_stands_before_the_answer_is_not_the_answer(before):
    assert read_answer(f"{before}\n{ANSWER}", KEYS).text == ANSWER


@pytest.mark.parametrize(
    "text",
    [
        '{"answer": {"a": "b", "c": "d"}}',
        '{"type": "object", "properties": {"a": "b", "c": "d"}}',
    ],
)
def test_an_answer_inside_another_object_is_taken_out(text):
    assert json.loads(read_answer(text, KEYS).text) == {"a": "b", "c": "d"}


def test_a_view_that_is_no_text_stays_for_the_reader_to_name():
    assert read_answer('{"a": "b", "c": 3}', KEYS).text == '{"a": "b", "c": 3}'


@pytest.mark.parametrize("text", ["", "no JSON", '{"a": "cut', "[1, 2]", '{"a":' * 5000, "{" * 100_000])
def test_a_text_without_an_object_stays_as_it_is(text):
    assert read_answer(text, KEYS) == Answer(text)


@pytest.mark.parametrize(
    "text",
    [
        "```\nA cat waves.\n```",
        "```text\nA cat waves.\n```",
        "<answer>A cat waves.</answer>",
        "<s> A cat waves.</s>",
    ],
)
def test_plain_words_lose_what_is_around_them(text):
    assert read_answer(text, KEYS).text == "A cat waves."
