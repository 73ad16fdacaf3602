"""Replies as strangers' servers write them: in pieces, in parts, with thoughts beside, with odd reasons."""

import json

import pytest

from mghft.pipeline.engines.base import RequestKey
from mghft.pipeline.engines.openai_reply import BrokenReplyError, error_words, parse_body, read_reply
from mghft.pipeline.views import VIEWS

KEY = RequestKey("a sticker")
TEXT = json.dumps({view: f"{view} of a cat" for view in VIEWS})
DRAFT = json.dumps(dict.fromkeys(VIEWS, "draft"))


def reply(content=TEXT, finish="stop", **message):
    choice = {"message": {"content": content, **message}, "finish_reason": finish}
    return {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 9}}


def read(body, views=VIEWS):
    content = (body if isinstance(body, str) else json.dumps(body)).encode()
    return read_reply(KEY, parse_body(content), views)


# Content


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        [{"type": "text", "text": TEXT}],
        [{"type": "text", "text": TEXT[:30]}, {"type": "text", "text": TEXT[30:]}],
        [{"type": "thinking", "thinking": [{"type": "text", "text": DRAFT}]}, {"type": "text", "text": TEXT}],
        [{"type": "reasoning", "text": DRAFT}, {"type": "output_text", "text": TEXT}],
        [{"text": TEXT}],
        [TEXT[:30], TEXT[30:]],
        {"type": "text", "text": TEXT},
        json.loads(TEXT),
        [{"type": "text", "text": {"value": TEXT}}],
    ],
    ids=lambda content: json.dumps(content)[:40],
)
def test_content_in_any_form_is_read(content):
    answer = read(reply(content))
    assert json.loads(answer.text) == json.loads(TEXT)
    assert answer.error is None


def test_a_choice_with_bare_text_is_read():
    assert read({"choices": [{"text": TEXT, "finish_reason": "stop"}]}).text == TEXT


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_thoughts_beside_the_content_are_no_answer(name):
    assert read(reply(**{name: f"maybe {DRAFT}"})).text == TEXT


@pytest.mark.parametrize("content", [None, "", []])
def test_thoughts_without_an_answer_are_named(content):
    answer = read(reply(content, "length", reasoning_content=f"maybe {DRAFT} or"))
    assert answer.error.startswith(
        "the answer is empty, the model was still thinking (length): raise max_tokens"
    )
    assert "thinking off" in answer.error
    assert read(reply(content, "stop", reasoning_content=f"maybe {DRAFT} or")).error is not None


def test_tokens_of_thoughts_are_counted_in_the_reason():
    body = reply("", "length")
    body["usage"]["completion_tokens_details"] = {"reasoning_tokens": 320}
    assert "320 tokens went into the model's thoughts" in read(body).error


@pytest.mark.parametrize("thoughts", [TEXT, f"maybe {DRAFT}\n</think>\n{TEXT}"])
def test_an_answer_that_the_server_took_for_thoughts_is_read(thoughts):
    """A server with a reasoning parser, and a model that did not think or closed its thoughts itself."""
    answer = read(reply(None, reasoning_content=thoughts))
    assert (answer.text, answer.error) == (TEXT, None)


def test_thoughts_that_never_end_are_named_and_kept_for_a_look():
    answer = read(reply(f"<think>maybe {DRAFT}", "stop"))
    assert "the model was still thinking" in answer.error
    assert answer.text == f"<think>maybe {DRAFT}"


def test_a_call_of_a_tool_is_named():
    answer = read(reply(None, "tool_calls", tool_calls=[{"function": {"name": "describe"}}]))
    assert answer.error == "the model called a tool in place of an answer (tool_calls)"


def test_an_empty_answer_is_named():
    assert read(reply("", "stop")).error == "the answer is empty (stop)"
    assert read(reply(None, None)).error == "the answer is empty (no reason given)"


def test_a_refusal_beside_the_content_is_the_reason():
    assert (
        read(reply(None, refusal="I can't help with that.")).error
        == "the model refused: I can't help with that."
    )


# Reasons


FILTERS = """sensitive safety SAFETY content-filter PROHIBITED_CONTENT RECITATION SPII blocklist refusal
    guardrail_intervened content_filtered image_safety risk_control"""


@pytest.mark.parametrize("reason", FILTERS.split())
def test_a_filter_of_any_name_is_a_filter(reason):
    for content in (None, TEXT):
        assert (
            read(reply(content, reason)).error == f"the server's content filter stopped the answer ({reason})"
        )


@pytest.mark.parametrize(
    "reason",
    ["max_tokens", "MAX_TOKENS", "max_output_tokens", "model_length", "model_context_window_exceeded"],
)
def test_a_limit_of_any_name_is_a_limit(reason):
    assert f"was cut at a limit of tokens ({reason})" in read(reply(TEXT[:60], reason)).error
    assert f"was cut at a limit of tokens ({reason})" in read(reply(None, reason)).error


@pytest.mark.parametrize(
    "reason",
    [
        "error",
        "network_error",
        "insufficient_system_resource",
        "abort",
        "cancelled",
        "timeout",
        "server_overloaded",
    ],
)
def test_a_broken_answer_is_worth_asking_again(reason):
    with pytest.raises(BrokenReplyError, match=f"broke the answer off \\({reason}"):
        read(reply(TEXT, reason))


def test_the_error_inside_a_choice_is_said_with_its_status():
    body = reply(TEXT[:30], None)
    body["choices"][0]["error"] = {"code": 502, "message": "lost the model"}
    with pytest.raises(BrokenReplyError, match="lost the model") as error:
        read(body)
    assert error.value.status == 502


@pytest.mark.parametrize(
    "reason", ["stop", "end_turn", "eos_token", "STOP", "stop_sequence", "completed", "", None]
)
def test_an_end_of_any_name_is_the_end(reason):
    answer = read(reply(TEXT, reason))
    assert (answer.text, answer.error, answer.finish_reason) == (TEXT, None, reason or "unknown")


def test_length_is_left_to_whoever_reads_the_views():
    answer = read(reply(TEXT[:60], "length"))
    assert (answer.text, answer.error, answer.finish_reason) == (TEXT[:60], None, "length")


def test_a_body_with_white_space_and_a_mark_before_it_is_read():
    assert read(f"\ufeff \n\n  {json.dumps(reply())}").text == TEXT


# Streams


def pieces(*choices, end="data: [DONE]\n\n", newline="\n"):
    lines = [f"data: {json.dumps({'choices': [choice]})}{newline}{newline}" for choice in choices]
    return "".join(lines) + end


def deltas(name="content", size=30, text=TEXT):
    return [{"index": 0, "delta": {name: text[i : i + size]}} for i in range(0, len(text), size)]


END = {"index": 0, "delta": {}, "finish_reason": "stop"}


@pytest.mark.parametrize(
    "body",
    [
        pieces(*deltas(), END),
        pieces(*deltas(), END, newline="\r\n"),
        pieces(*deltas(), END, end=""),
        pieces(*deltas()),
        ": OPENROUTER PROCESSING\n\n" + pieces(*deltas(), END),
        "event: message\n" + pieces(*deltas(), END),
        "\n\n" + pieces({"index": 0, "delta": {"role": "assistant", "content": None}}, *deltas(), END),
        pieces(*deltas("reasoning_content", text=DRAFT), *deltas(), END),
        pieces({"index": 0, "message": {"content": TEXT}, "finish_reason": "stop"}),
        pieces(*deltas(), {"index": 0, "message": {"content": TEXT}, "finish_reason": "stop"}),
        "".join(json.dumps({"choices": [piece]}) + "\n" for piece in [*deltas(), END]),
        pieces(*deltas(text="thinking </think>" + TEXT), END),
    ],
)
def test_a_stream_that_nobody_asked_for_is_put_together(body):
    answer = read(body)
    assert (answer.text, answer.error) == (TEXT, None)


def test_the_last_piece_of_a_stream_counts_the_tokens():
    usage = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 6}}
    body = pieces(*deltas(), END, end=f"data: {json.dumps(usage)}\n\ndata: [DONE]\n\n")
    answer = read(body)
    assert (answer.prompt_tokens, answer.output_tokens, answer.finish_reason) == (5, 6, "stop")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (pieces(*deltas()[:2], end=""), "its stream ended too early"),
        (pieces(*deltas())[:-60], "a piece of its stream is no JSON|ended too early"),
        (
            'data: {"error": {"code": 503, "message": "overloaded"}}\n\n',
            "the stream holds the error overloaded",
        ),
        (pieces(*deltas()[:2], {"index": 0, "delta": {}, "finish_reason": "error"}), "broke the answer off"),
    ],
)
def test_a_stream_that_breaks_off_is_worth_asking_again(body, words):
    with pytest.raises(BrokenReplyError, match=words):
        read(body)


# What is no reply


@pytest.mark.parametrize(
    ("body", "words", "status"),
    [
        ("<!DOCTYPE html><html><body>Sign in</body></html>", r"a web page \(Sign in\)", 0),
        ("hello", "no JSON", 0),
        ({"error": "Unexpected endpoint"}, "the error Unexpected endpoint", 0),
        ({"error": {"code": 429, "message": "slow down"}}, "slow down", 429),
        ({"error": {"code": "model_not_found", "message": "no"}}, "the error no", 0),
        ({"code": 1113, "msg": "no money", "success": False}, "no choices: no money", 0),
        ({"choices": None, "error": {"status": 503, "message": "x"}}, "the error x", 503),
        ({"choices": []}, "no choices", 0),
        (None, "no choices", 0),
    ],
)
def test_what_is_no_reply_says_what_it_is(body, words, status):
    with pytest.raises(BrokenReplyError, match=words) as error:
        read(body)
    assert error.value.status == status


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("plain", "plain"),
        ({"message": "a"}, "a"),
        ({"error": {"message": "a", "code": 3}}, "a"),
        ({"detail": [{"msg": "a", "loc": ["body", "seed"]}]}, "a"),
        ({"code": "x", "error": "a"}, "a"),
        (
            {"error": {"message": "Provider returned error", "metadata": {"raw": "a"}}},
            "Provider returned error: a",
        ),
        ({"odd": 1}, '{"odd": 1}'),
        (None, ""),
        ({}, ""),
        ("<html><style>p {}</style><h1>502</h1><p>Bad</p></html>", "502 Bad"),
    ],
)
def test_the_words_of_an_error_are_found_in_any_form(body, words):
    assert " ".join(error_words(body).split()) == words
