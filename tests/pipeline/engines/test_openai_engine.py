"""The engine for servers against one that misbehaves: what it asks, and what it makes of each answer."""

import json
import threading
import time

import pytest
from bad_server import GOOD, BadServer, Step, refusal
from openai_bench import ask, ask_one, collect, is_good, request, start
from openai_bench import no_key as no_key

from mghft.pipeline.views import VIEWS, views_schema

# What is asked


def test_the_request_has_image_then_text_sampling_and_schema():
    with BadServer() as server:
        answers, retries = ask(server, request(system="be short"))
    (seen,) = server.seen
    assert is_good(answers["key 1"])
    assert retries == 0
    assert [part["type"] for part in seen.parts] == ["image_url", "text"]
    assert seen.parts[1]["text"] == "what?"
    assert seen.image.size == (8, 8)
    assert seen.image.getpixel((3, 3)) == (1, 0, 128)
    assert seen.body["messages"][0] == {"role": "system", "content": "be short"}
    wanted = {"model": "painter", "temperature": 0.5, "top_p": 0.9, "max_tokens": 77, "seed": 3}
    assert {name: seen.body[name] for name in wanted} == wanted
    form = seen.body["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["strict"] is True
    assert form["json_schema"]["schema"] == views_schema()


def test_no_system_message_without_one():
    with BadServer() as server:
        ask_one(server)
    assert [message["role"] for message in server.seen[0].body["messages"]] == ["user"]


def test_tokens_are_counted():
    with BadServer() as server:
        answer = ask_one(server)
    assert (answer.prompt_tokens, answer.output_tokens) == (7, 9)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None, "completion_tokens": "many"}])
def test_missing_usage_is_zero(usage):
    with BadServer([Step(top={"usage": usage})]) as server:
        answer = ask_one(server)
    assert is_good(answer)
    assert (answer.prompt_tokens, answer.output_tokens) == (0, 0)


def test_requests_run_side_by_side_up_to_the_limit():
    with BadServer(lambda number, seen: Step(delay=0.2)) as server:
        answers, _ = ask(server, *(request(n) for n in range(12)), concurrency=4)
    assert all(is_good(answers[f"key {n}"], n) for n in range(12))
    assert server.most_at_once == 4


def test_answers_come_back_in_any_order_under_their_keys():
    collected = threading.Event()

    def script(number, seen):
        if number == 0:
            collected.wait()
        return GOOD

    with BadServer(script) as server:
        engine = start(server, timeout=60.0)
        engine.submit(request(1))
        while not server.seen:
            time.sleep(0.01)
        engine.submit(request(2))
        assert [answer.key.sticker_id for answer in collect(engine)] == ["key 2"]
        collected.set()
        assert [answer.key.sticker_id for answer in collect(engine)] == ["key 1"]
        assert collect(engine) == []
        engine.close()


def test_capacity_keeps_the_requests_in_flight_full():
    with BadServer() as server:
        engine = start(server, concurrency=8)
        assert engine.capacity == 10
        engine.close()


# What costs one answer


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_request_costs_one_answer(status):
    def script(number, seen):
        return refusal(status, "the picture is odd") if seen.image.getpixel((0, 0))[0] == 2 else GOOD

    with BadServer(script) as server:
        answers, retries = ask(server, *(request(n) for n in range(5)))
    assert answers["key 2"].error == f"the server refused the request: {status} the picture is odd"
    assert all(is_good(answers[f"key {n}"], n) for n in (0, 1, 3, 4))
    # Once more, since it could have been the moment.
    assert retries == 1


def test_a_sticker_that_the_server_stumbles_over_costs_one_answer():
    """Also when it is the only one left: a simple question tells the two apart."""
    with BadServer(lambda number, seen: refusal(500, "boom")) as server:
        answer = ask_one(server, max_retries=1)
    assert answer.error == "the server failed 2 times on this request: 500 boom"


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (Step(finish="content_filter"), "the server's content filter stopped the answer"),
        (
            Step(message={"refusal": "I can't help with that.", "content": None}),
            "the model refused: I can't help with that.",
        ),
    ],
)
def test_a_filtered_or_refused_answer_costs_one_answer(step, error):
    with BadServer([step]) as server:
        answer = ask_one(server)
    assert answer.error == error
    assert (answer.prompt_tokens, answer.output_tokens) == (7, 9)


def test_a_huge_answer_costs_one_answer():
    with BadServer([Step(top={"filler": "x" * (9 << 20)})]) as server:
        answer = ask_one(server)
    assert answer.error == "the server's answer is larger than 8 MiB"


def test_a_cut_answer_says_so():
    with BadServer([Step(finish="length", message={"content": '{"content": "a c'})]) as server:
        answer = ask_one(server)
    assert answer.finish_reason == "length"
    assert answer.text == '{"content": "a c'
    assert answer.error is None


def test_a_long_error_is_shortened_without_its_picture():
    words = f"bad input data:image/png;base64,{'iVBORw0KGgo' * 500} and {'much more ' * 100}"
    with BadServer([refusal(400, words)] * 2) as server:
        error = ask_one(server).error
    assert "iVBOR" not in error
    assert len(error) < 360


def test_a_fenced_answer_is_read():
    views = {view: f"{view} of 1-0-128" for view in VIEWS}
    with BadServer([Step(message={"content": f"Sure!\n```json\n{json.dumps(views)}\n```"})]) as server:
        assert is_good(ask_one(server, structured="none"))
