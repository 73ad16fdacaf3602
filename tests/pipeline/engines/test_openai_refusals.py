"""A server's refusal: about the request, the run, the moment or the form, found out by asking."""

import json
import re
from dataclasses import replace

import pytest
from bad_server import GOOD, BadServer, Step, good_reply, refusal
from openai_bench import FORMAT_REFUSED, SAMPLING, ask, ask_one, everywhere, is_good, lost, request
from openai_bench import no_key as no_key

from mghft.pipeline.views import VIEWS


def formats(requests):
    return [seen.body.get("response_format", {}).get("type", "none") for seen in requests]


def colour(seen):
    return seen.image.getpixel((0, 0))[0]


# About the request


@pytest.mark.parametrize(
    "answer",
    [
        Step(403, {"code": "permission-denied", "error": "the picture breaks the rules (violence)"}),
        Step(451, {"error": {"message": "unavailable for legal reasons"}}),
        refusal(401, "moderation says no"),
        refusal(404, "no route for this content"),
        Step(400, {"error": {"code": "content_filter", "message": "the prompt was filtered"}}),
        Step(400, {"detail": "image is too small"}),
        Step(422, ""),
        Step(body={"error": {"code": 403, "message": "flagged", "metadata": {"raw": "by provider X"}}}),
    ],
    ids=lambda step: f"{step.status}-{str(step.body)[:30]}",
)
def test_a_picture_that_is_refused_by_itself_costs_one_answer(answer):
    """Whatever the status: simple questions and other stickers are answered in the same form."""
    with BadServer(lambda number, seen: answer if colour(seen) == 2 else GOOD) as server:
        answers, _ = ask(server, *(request(n) for n in range(6)), concurrency=1)
    assert all(is_good(answers[f"key {n}"], n) for n in (0, 1, 3, 4, 5))
    words = re.search(
        r"rules|legal|moderation|route|filtered|small|without a word|flagged", answers["key 2"].error
    )
    assert words, answers["key 2"].error
    assert sum(colour(seen) == 2 for seen in server.seen) == 2
    assert set(formats(server.seen)) == {"json_schema"}


def test_what_lies_deepest_in_an_error_is_said():
    routed = {"message": "Provider returned error", "metadata": {"raw": '{"detail": "picture too wide"}'}}
    with BadServer([Step(400, {"error": routed})] * 2) as server:
        assert "Provider returned error: " in (said := ask_one(server).error)
    assert "picture too wide" in said


def test_a_row_of_flagged_pictures_does_not_end_the_run():
    with BadServer(lambda number, seen: refusal(403, "flagged") if colour(seen) > 2 else GOOD) as server:
        answers, _ = ask(server, *(request(n) for n in range(40)), concurrency=4)
    assert sum(answer.error is None for answer in answers.values()) == 3
    assert sum("403 flagged" in (answer.error or "") for answer in answers.values()) == 37


def test_an_answer_that_misses_the_schema_changes_nothing_for_the_others():
    """The words name the schema, and mean what the model wrote."""
    missed = Step(400, {"error": {"code": "json_validate_failed", "message": "JSON schema not met: /style"}})
    for structured in ("auto", "schema"):
        with BadServer(lambda number, seen: missed if colour(seen) == 1 else GOOD) as server:
            answers, _ = ask(server, *(request(n) for n in range(6)), concurrency=1, structured=structured)
        assert [n for n in range(6) if answers[f"key {n}"].error] == [1]
        assert set(formats(server.seen)) == {"json_schema"}


# About the moment


@pytest.mark.parametrize(
    "step",
    [
        Step(424, {"error": "CUDA out of memory", "error_type": "generation"}),
        refusal(529, "overloaded"),
        refusal(522, "the origin timed out"),
        refusal(423, "locked"),
        refusal(400, "in maintenance", retry_after="0"),
        Step(body={"error": {"code": 502, "message": "the provider is gone"}}),
        Step(body={"error": {"code": "429", "message": "slow down"}}),
        Step(finish="error"),
        Step(finish="network_error"),
        Step(finish="insufficient_system_resource"),
        Step(finish="abort"),
        Step(top={"choices": [{"error": {"code": 502, "message": "lost"}, "message": {"content": "{"}}]}),
    ],
    ids=lambda step: f"{step.status}-{step.finish}-{str(step.body or step.top)[:24]}",
)
def test_a_moment_costs_no_answer(step):
    with BadServer([GOOD, step, step, step]) as server:
        answers, retries = ask(server, *(request(n) for n in range(4)), concurrency=1)
    assert all(is_good(answers[f"key {n}"], n) for n in range(4))
    assert retries == 3


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_refusal_is_asked_about_once_more(status):
    with BadServer([refusal(status, "the model is being loaded")]) as server:
        answers, retries = ask(server)
    assert is_good(answers["key 1"])
    assert retries == 1


# About the form


def test_auto_steps_down_to_what_the_server_takes_and_remembers(capsys):
    def answer(seen):
        return refusal(400, FORMAT_REFUSED) if "response_format" in seen.body else GOOD

    with everywhere(answer) as server:
        answers, retries = ask(server, *(request(n) for n in range(5)), concurrency=1)
    assert all(is_good(answers[f"key {n}"], n) for n in range(5))
    assert formats(server.seen) == ["none"] * 5
    assert retries == 0
    said = capsys.readouterr().err
    assert said.count("the server takes no JSON schema; going on with structured=none, max_tokens") == 1


def test_limits_on_texts_go_first():
    def answer(seen):
        short = "minLength" in json.dumps(seen.body.get("response_format"))
        return refusal(400, "Invalid schema: 'minLength' is not permitted.") if short else GOOD

    with everywhere(answer) as server:
        assert is_good(ask_one(server))
    assert formats(server.seen) == ["json_schema"]
    schema = server.seen[0].body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["style"] == {"type": "string"}
    assert schema["required"] == list(VIEWS)


def test_strictness_goes_next():
    def answer(seen):
        form = json.dumps(seen.body.get("response_format"))
        odd = "strict" in form or "additionalProperties" in form
        return refusal(400, "Invalid JSON payload: unknown name additional_properties") if odd else GOOD

    with everywhere(answer) as server:
        assert is_good(ask_one(server))
    assert set(server.seen[0].body["response_format"]["json_schema"]) == {"name", "schema"}


@pytest.mark.parametrize("step", [refusal(400, FORMAT_REFUSED), Step(422, {"detail": []}), refusal(500, "")])
def test_a_demanded_format_is_not_given_up(step):
    with everywhere(lambda seen: step if "response_format" in seen.body else GOOD) as server:
        words = lost(server, structured="schema")
    assert "refuses structured=schema" in words
    assert "set server.structured to auto" in words
    assert server.seen == []


@pytest.mark.parametrize(("structured", "kind"), [("object", "json_object"), ("none", "none")])
def test_the_chosen_format_is_sent(structured, kind):
    with BadServer() as server:
        ask_one(server, structured=structured)
    assert formats(server.seen) == [kind]
    # JSON mode wants the word in the prompt.
    assert "JSON" in server.asked_simply[0].parts[1]["text"]


WORDINGS = {
    "openai": (400, "Unsupported value: 'NAME' does not support this with this model. Only the default is."),
    "kimi": (400, "invalid NAME: only 1 is allowed for this model"),
    "mistral": (
        422,
        [{"type": "extra_forbidden", "loc": ["body", "NAME"], "msg": "Extra inputs are forbidden"}],
    ),
    "bedrock": (400, "`NAME` is deprecated for this model."),
    "chinese": (400, "参数 NAME 不合法"),
    "says nothing": (400, ""),
    "names nothing": (422, "Input validation error"),
    "names another": (400, "see the docs on max_tokens, temperature, top_p and response_format"),
    "as a fault": (500, "Internal Server Error"),
    "as another status": (406, "not acceptable"),
    "with 200": (200, "bad argument NAME"),
}


@pytest.mark.parametrize("name", ["seed", "temperature", "top_p"])
@pytest.mark.parametrize("wording", WORDINGS)
def test_a_setting_that_is_not_taken_is_left_out_whatever_the_server_says(name, wording, capsys):
    status, words = WORDINGS[wording]
    body = json.loads(json.dumps({"error": {"message": words}}).replace("NAME", name))

    with everywhere(lambda seen: Step(status, body) if name in seen.body else GOOD) as server:
        answers, _ = ask(server, request(1), request(2), concurrency=1)
    assert is_good(answers["key 1"])
    assert is_good(answers["key 2"], 2)
    others = {"seed", "temperature", "top_p", "max_tokens", "response_format"} - {name}
    assert name not in server.seen[-1].body
    assert others <= set(server.seen[-1].body)
    assert capsys.readouterr().err.count(f"the server takes no {name}; going on with") == 1


def test_settings_that_exclude_each_other_lose_the_weaker_one():
    def answer(seen):
        both = {"temperature", "top_p"} <= set(seen.body)
        return refusal(400, "temperature and top_p cannot both be given. Use one.") if both else GOOD

    with everywhere(answer) as server:
        answers, _ = ask(server, request(1), request(2), concurrency=1)
    assert is_good(answers["key 2"], 2)
    assert server.seen[-1].body["temperature"] == 0.5
    assert "top_p" not in server.seen[-1].body


def test_a_neutral_setting_is_not_sent():
    """top_p 1 changes nothing, and some servers refuse it beside a temperature."""
    neutral = SAMPLING.model_copy(update={"top_p": 1.0, "temperature": 0.0})
    with BadServer() as server:
        ask(server, replace(request(1), sampling=neutral))
    assert "top_p" not in server.seen[0].body
    assert server.seen[0].body["temperature"] == 0.0


def test_newer_models_get_max_completion_tokens_and_lose_what_they_do_not_take(capsys):
    def answer(seen):
        for name in ("max_tokens", "temperature", "top_p"):
            if name in seen.body:
                return refusal(400, f"Unsupported parameter: '{name}' is not supported with this model.")
        return GOOD

    with everywhere(answer) as server:
        answers, _ = ask(server, request(1), request(2), concurrency=1)
    assert is_good(answers["key 2"], 2)
    last = server.seen[-1].body
    assert last["max_completion_tokens"] == 77
    assert last["seed"] == 3
    assert last["response_format"]["type"] == "json_schema"
    said = capsys.readouterr().err
    assert "takes no max_tokens, temperature, top_p; going on with structured=schema, max_comp" in said


def test_a_server_that_takes_no_limit_of_tokens_is_asked_without():
    def answer(seen):
        return refusal(400, "?") if any("tokens" in name for name in seen.body) else GOOD

    with everywhere(answer) as server:
        assert is_good(ask_one(server))


def test_a_limit_that_is_too_large_is_the_packs_fault():
    """Dropped, every answer could run on to the end of the context."""

    def answer(seen):
        large = max(seen.body.get(name, 0) for name in ("max_tokens", "max_completion_tokens")) > 64
        return refusal(400, "max_tokens is too large: this model has room for 64") if large else GOOD

    with everywhere(answer) as server:
        words = lost(server)
    assert "takes no limit of 77 tokens (400 max_tokens is too large" in words
    assert "lower max_tokens in the prompt pack" in words


@pytest.mark.parametrize("status", [400, 500])
def test_a_model_without_a_system_role_is_told_before_the_users_words(status, capsys):
    def answer(seen):
        odd = seen.body["messages"][0]["role"] == "system"
        return refusal(status, "System role not supported") if odd else GOOD

    with everywhere(answer) as server:
        answers, _ = ask(server, request(1, "be short"), request(2, "be short"), concurrency=1)
    assert is_good(answers["key 2"], 2)
    assert server.seen[-1].parts[1]["text"] == "be short\n\nwhat?"
    assert server.seen[-1].body["response_format"]["type"] == "json_schema"
    assert capsys.readouterr().err.count("the server takes no system message; going on with") == 1


def test_a_model_that_only_streams_is_asked_for_a_stream(capsys):
    def answer(seen):
        if not seen.body.get("stream"):
            return refusal(400, "This model only supports stream mode.")
        content = good_reply(seen)["choices"][0]["message"]["content"]
        pieces = [
            {"choices": [{"delta": {"content": content[i : i + 20]}}]} for i in range(0, len(content), 20)
        ]
        pieces.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        pieces.append({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 9}})
        lines = [f"data: {json.dumps(piece)}\n\n" for piece in pieces]
        return Step(body="".join(lines) + "data: [DONE]\n\n", headers={"Content-Type": "text/event-stream"})

    with everywhere(answer) as server:
        answers, _ = ask(server, request(1), request(2), concurrency=1)
    assert is_good(answers["key 2"], 2)
    assert answers["key 2"].output_tokens == 9
    assert capsys.readouterr().err.count("takes no answer in one piece; going on with structured=schema") == 1


def test_requests_in_flight_learn_together():
    """The first question had another top_p, so all eight meet a refusal; one finds out what it is about."""

    def answer(seen):
        return Step(422, {"detail": "no"}, delay=0.05) if seen.body.get("top_p") == 0.8 else GOOD

    requests = [
        replace(one, sampling=one.sampling.model_copy(update={"top_p": 0.8}))
        for one in map(request, range(24))
    ]
    with everywhere(answer) as server:
        answers, _ = ask(server, *requests, concurrency=8)
    assert all(is_good(answers[f"key {n}"], n) for n in range(24))
    assert sum("top_p" in seen.body for seen in server.seen) <= 16
    assert sum(seen.body.get("top_p") == 0.8 for seen in server.asked_simply) <= 5


def test_a_picture_of_ours_that_is_refused_is_no_proof_against_a_setting(capsys):
    """The white square is refused with the schema for its own sake: the face is not."""

    def simple(seen):
        white = seen.image is not None and seen.image.size == (64, 64)
        return (
            refusal(400, "the JSON does not fit the schema")
            if white and "response_format" in seen.body
            else GOOD
        )

    with BadServer(simple=simple) as server:
        assert is_good(ask_one(server))
    assert formats(server.seen) == ["json_schema"]
    assert "takes no" not in capsys.readouterr().err


def test_a_server_against_small_pictures_is_asked_about_another():
    def simple(seen):
        small = seen.image is not None and seen.image.size == (64, 64)
        return refusal(400, "the picture must have 100 pixels at least") if small else GOOD

    with BadServer(simple=simple) as server:
        assert is_good(ask_one(server))
