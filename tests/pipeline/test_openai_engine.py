"""The engine for OpenAI-compatible servers against a server that misbehaves in every way we know of."""

import email.utils
import gc
import json
import logging
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from bad_server import GOOD, BadServer, Step, refusal
from describe_bench import config, make_corpus
from describe_bench import run as run_known
from PIL import Image

from pipeline.cards import load_card
from pipeline.config import ServerOptions
from pipeline.corpus import load_corpus
from pipeline.describe import describe
from pipeline.engines import EngineLost, Request
from pipeline.openai_engine import OpenAiEngine, cost, extract_json, server_facts
from pipeline.openai_protocol import retry_after
from pipeline.prompts import Sampling
from pipeline.server import check_address
from pipeline.shards import read_descriptions
from pipeline.status import verify_run
from pipeline.views import VIEWS, views_schema

KEY = "sk-very-secret-0123456789"
SAMPLING = Sampling(temperature=0.5, top_p=0.9, max_tokens=77, seed=3)
FORMAT_REFUSED = "response_format json_schema is not supported by this model"


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    for name in [name for name in os.environ if name.startswith("OPENAI_")]:
        monkeypatch.delenv(name)


def request(number=1, system=None):
    image = Image.new("RGB", (8, 8), (number, 0, 128))
    return Request(f"key {number}", image, str(number), system, "what?", views_schema(), SAMPLING)


def start(server, backoff=0.02, **options):
    options = {"max_retries": 3, "timeout": 5.0, **options}
    return OpenAiEngine("painter", ServerOptions(base_url=server.url, **options), backoff=backoff)


def collect(engine):
    """The next answers, however long they take; none when nothing is in work."""
    while engine._in_work:
        if answers := engine.collect():
            return answers
    return []


def ask(server, *requests, **options):
    """The answers by key, and the engine's count of retries."""
    engine = start(server, **options)
    try:
        for one in requests or (request(),):
            engine.submit(one)
        answers = {}
        while batch := collect(engine):
            answers.update({answer.key: answer for answer in batch})
        return answers, engine.retries
    finally:
        engine.close()


def ask_one(server, **options):
    answers, _ = ask(server, **options)
    return answers["key 1"]


def lost(server, *requests, **options):
    """The sentence with which the engine is lost."""
    with pytest.raises(EngineLost) as error:
        ask(server, *requests, **options)
    return str(error.value)


def is_good(answer, number=1):
    return (
        answer.error is None
        and answer.finish_reason == "stop"
        and json.loads(answer.text) == {view: f"{view} of {number}-0-128" for view in VIEWS}
    )


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
        assert [answer.key for answer in collect(engine)] == ["key 2"]
        collected.set()
        assert [answer.key for answer in collect(engine)] == ["key 1"]
        assert collect(engine) == []
        engine.close()


def test_capacity_keeps_the_requests_in_flight_full():
    with BadServer() as server:
        engine = start(server, concurrency=8)
        assert engine.capacity == 10
        engine.close()


# What is tried again


@pytest.mark.parametrize(
    "step",
    [
        refusal(408),
        refusal(409),
        refusal(429),
        refusal(500),
        refusal(502, "<html>bad gateway</html>"),
        refusal(503),
        Step(503, "no JSON at all", {"Content-Type": "text/html"}),
        Step(silent=True),
        Step(cut=True),
        Step(body='{"choices": ['),
        Step(body="hello", headers={"Content-Type": "text/plain"}),
        Step(body="[" * 100_000),
        Step(body={"choices": []}),
        Step(body={"choices": [{"finish_reason": "stop"}]}),
        Step(body={"error": {"message": "upstream is gone"}}),
        Step(body=[1, 2]),
    ],
    ids=lambda step: f"{step.status}-{str(step.body)[:24]}{'-silent' * step.silent}{'-cut' * step.cut}",
)
def test_a_passing_failure_is_tried_again(step):
    with BadServer([step, step]) as server:
        answers, retries = ask(server)
    assert is_good(answers["key 1"])
    assert retries == 2
    assert len(server.seen) == 3


def test_a_slow_answer_is_tried_again():
    with BadServer([Step(delay=3.0)]) as server:
        answers, retries = ask(server, timeout=0.5)
    assert is_good(answers["key 1"])
    assert retries == 1


def test_json_without_a_content_type_is_read():
    with BadServer([Step(headers={"Content-Type": "text/plain"})]) as server:
        assert is_good(ask_one(server))
    assert len(server.seen) == 1


def test_waits_grow():
    with BadServer([refusal(500)] * 3) as server:
        ask_one(server, backoff=0.2)
    times = [seen.at for seen in server.seen]
    # With jitter the waits are 0.1 to 0.2, 0.2 to 0.4 and 0.4 to 0.8.
    for number, shortest in enumerate([0.1, 0.2, 0.4]):
        assert times[number + 1] - times[number] >= shortest


def test_retry_after_in_seconds_is_kept():
    with BadServer([refusal(429, retry_after="1")]) as server:
        assert is_good(ask_one(server, backoff=0.001))
    assert server.seen[1].at - server.seen[0].at >= 1.0


def test_retry_after_as_a_date_is_kept():
    # A date has whole seconds: two from now are between one and two.
    script = lambda number, seen: (  # noqa: E731
        refusal(503, retry_after=email.utils.formatdate(time.time() + 2, usegmt=True))
        if number == 0
        else GOOD
    )
    with BadServer(script) as server:
        assert is_good(ask_one(server, backoff=0.001))
    assert server.seen[1].at - server.seen[0].at >= 0.9


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "300"}, 300.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read(headers, seconds):
    assert retry_after(headers) == seconds


def test_a_limit_holds_back_all_requests():
    """Not only those in flight: without it the other three places would go on."""

    def script(number, seen):
        return refusal(429, retry_after="1") if number == 0 else Step(delay=0.3)

    with BadServer(script) as server:
        answers, _ = ask(server, *(request(n) for n in range(12)), concurrency=4)
    assert all(is_good(answers[f"key {n}"], n) for n in range(12))
    assert sum(seen.at - server.seen[0].at < 1.0 for seen in server.seen) <= 4


def test_the_wait_is_said_once(capsys):
    with BadServer([refusal(429)] * 6) as server:
        ask(server, request(1), request(2), request(3), max_retries=6)
    said = capsys.readouterr().err
    assert said.count("limits the rate (429)") == 1
    assert "describe: the server limits the rate (429): nothing is sent for 0.0 s\n" in said


def test_a_rate_limit_is_no_failure_while_others_get_through():
    """The server takes every fourth request: each request alone would soon run out of tries."""

    def script(number, seen):
        return GOOD if number % 4 == 3 else refusal(429)

    with BadServer(script) as server:
        answers, retries = ask(
            server, *(request(n) for n in range(24)), concurrency=8, max_retries=3, backoff=0.01
        )
    assert all(is_good(answers[f"key {n}"], n) for n in range(24))
    assert retries >= 48


# What ends the run


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (refusal(500, "boom"), "gave no answer in 3 tries (500 boom): start the command again"),
        (refusal(429, "slow down"), "gave no answer in 3 tries (429 slow down)"),
        (Step(silent=True), "gave no answer in 3 tries (no connection or a broken one"),
        (Step(delay=2.0), "gave no answer in 3 tries (no answer within 0.3 s)"),
        (Step(body={"choices": []}), "gave no answer in 3 tries (the answer has no choices)"),
    ],
    ids=["500", "429", "closed", "slow", "empty"],
)
def test_a_server_that_answers_nobody_ends_the_run(step, words):
    with BadServer(lambda number, seen: step) as server:
        assert words in lost(server, max_retries=2, timeout=0.3 if step.delay else 5.0)


def test_a_server_that_went_away_ends_the_run():
    with BadServer() as server:
        engine = start(server, max_retries=2)
    engine.submit(request())
    with pytest.raises(EngineLost, match="gave no answer in 3 tries"):
        collect(engine)
    engine.close()


def test_a_wait_of_hours_ends_the_run():
    with BadServer([refusal(429, retry_after="7200")]) as server:
        assert "wants to be left alone for 7200 s" in lost(server)
    assert len(server.seen) == 1


def test_no_money_ends_the_run():
    empty = Step(429, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}})
    with BadServer([empty]) as server:
        assert "has no money left (You exceeded your quota)" in lost(server)
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_ends_the_run(status):
    with BadServer([refusal(status, "bad key")]) as server:
        words = lost(server, key_env="MY_KEY")
    assert f"does not let us in ({status} bad key): check the key in the environment variable MY_KEY" in words
    assert len(server.seen) == 1


def test_an_unknown_address_ends_the_run():
    with BadServer([refusal(404, "Not Found")], models=refusal(404)) as server:
        words = lost(server)
    assert "check --model painter and --base-url" in words
    assert len(server.seen) == 1


def test_a_redirect_is_not_followed():
    with BadServer([Step(307, "", {"Location": "http://127.0.0.1:9/v1/chat/completions"})]) as server:
        assert "redirects (307)" in lost(server)


def test_answers_from_before_the_end_are_handed_out():
    with BadServer(lambda number, seen: GOOD if number < 5 else Step(silent=True)) as server:
        engine = start(server, concurrency=1, max_retries=1)
        for number in range(9):
            engine.submit(request(number))
        while engine._lost is None:
            time.sleep(0.01)
        answers = collect(engine)
        with pytest.raises(EngineLost):
            collect(engine)
        engine.close()
    assert len(answers) == 5
    assert all(is_good(answer, int(answer.key.split()[1])) for answer in answers)


def test_refusals_without_end_are_not_the_stickers_fault():
    with BadServer(lambda number, seen: refusal(400, "this model sees no images")) as server:
        words = lost(server, *(request(n) for n in range(60)))
    assert "refused 20 requests in a row" in words
    assert "this model sees no images" in words
    assert len(server.seen) < 60


# What costs one answer


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_request_costs_one_answer(status):
    def script(number, seen):
        return refusal(status, "the picture is odd") if seen.image.getpixel((0, 0))[0] == 2 else GOOD

    with BadServer(script) as server:
        answers, retries = ask(server, *(request(n) for n in range(5)))
    assert answers["key 2"].error == f"the server refused the request: {status} the picture is odd"
    assert all(is_good(answers[f"key {n}"], n) for n in (0, 1, 3, 4))
    assert retries == 0


def test_a_sticker_that_the_server_stumbles_over_costs_one_answer():
    """Also when it is the only one left: a simple question tells the two apart."""

    def script(number, seen):
        return GOOD if seen.image.size == (64, 64) else refusal(500, "boom")

    with BadServer(script) as server:
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
    with BadServer([refusal(400, words)]) as server:
        error = ask_one(server).error
    assert "iVBOR" not in error
    assert len(error) < 360


# What this server takes


def formats(server):
    return [seen.body.get("response_format", {}).get("type", "none") for seen in server.seen]


def test_auto_steps_down_to_what_the_server_takes_and_remembers(capsys):
    def script(number, seen):
        return refusal(400, FORMAT_REFUSED) if "response_format" in seen.body else GOOD

    with BadServer(script) as server:
        answers, retries = ask(server, *(request(n) for n in range(5)), concurrency=1)
    assert all(is_good(answers[f"key {n}"], n) for n in range(5))
    assert formats(server) == ["json_schema", "json_object", "none", "none", "none", "none", "none"]
    assert retries == 0
    assert "the server takes no JSON schema; going on with structured=object" in capsys.readouterr().err


def test_requests_in_flight_step_down_together():
    def script(number, seen):
        kind = seen.body.get("response_format", {}).get("type")
        return Step(422, {"detail": FORMAT_REFUSED}, delay=0.1) if kind == "json_schema" else GOOD

    with BadServer(script) as server:
        answers, _ = ask(server, *(request(n) for n in range(8)), concurrency=8)
    assert all(is_good(answers[f"key {n}"], n) for n in range(8))
    assert formats(server).count("json_object") == 8
    assert "none" not in formats(server)


def test_a_late_refusal_does_not_bring_a_refused_format_back():
    def script(number, seen):
        while number == 0 and "none" not in formats(server):
            time.sleep(0.01)
        return refusal(400, FORMAT_REFUSED) if "response_format" in seen.body else GOOD

    with BadServer(script) as server:
        answers, _ = ask(server, *(request(n) for n in range(2)), concurrency=2)
    assert all(is_good(answers[f"key {n}"], n) for n in range(2))
    assert formats(server) == ["json_schema", "json_schema", "json_object", "none", "none"]


def test_limits_on_texts_go_first():
    def script(number, seen):
        short = "minLength" in json.dumps(seen.body["response_format"])
        words = "Invalid schema for response_format 'views': 'minLength' is not permitted."
        return refusal(400, words) if short else GOOD

    with BadServer(script) as server:
        assert is_good(ask_one(server))
    assert formats(server) == ["json_schema", "json_schema"]
    schema = server.seen[1].body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["style"] == {"type": "string"}
    assert schema["required"] == list(VIEWS)


def test_a_demanded_format_is_not_given_up():
    with BadServer(lambda number, seen: refusal(400, FORMAT_REFUSED)) as server:
        words = lost(server, structured="schema")
    assert "refuses structured=schema" in words
    assert "set server.structured to auto" in words


@pytest.mark.parametrize(("structured", "kind"), [("object", "json_object"), ("none", "none")])
def test_the_chosen_format_is_sent(structured, kind):
    with BadServer() as server:
        ask_one(server, structured=structured)
    assert formats(server) == [kind]


def test_newer_models_get_max_completion_tokens():
    def script(number, seen):
        words = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
        return refusal(400, words) if "max_tokens" in seen.body else GOOD

    with BadServer(script) as server:
        answers, _ = ask(server, request(1), request(2), concurrency=1)
    assert is_good(answers["key 1"])
    assert [seen.body.get("max_completion_tokens") for seen in server.seen] == [None, 77, 77]


@pytest.mark.parametrize("name", ["seed", "temperature", "top_p"])
def test_a_setting_that_is_not_taken_is_left_out(name):
    def script(number, seen):
        return refusal(400, f"Unsupported value: '{name}' is not supported") if name in seen.body else GOOD

    with BadServer(script) as server:
        answers, _ = ask(server, request(1), request(2), concurrency=1)
    assert is_good(answers["key 2"], 2)
    assert [name in seen.body for seen in server.seen] == [True, False, False]


@pytest.mark.parametrize(
    "text",
    [
        '{"a":"b","c":"d"}',
        '  {"a":"b","c":"d"}\n',
        '```json\n{"a":"b","c":"d"}\n```',
        'Here you are: {"a":"b","c":"d"} I hope it helps {really}.',
        'A set {1, 2} and then {"a":"b","c":"d"}',
        '<think>maybe {"a":"draft"}</think>{"a":"b","c":"d"}',
    ],
)
def test_json_is_found_in_what_models_wrap_it_in(text):
    assert extract_json(text) == '{"a":"b","c":"d"}'


@pytest.mark.parametrize("text", ["", "no JSON", '{"a": "cut', "[1, 2]", '{"a":' * 5000, "{" * 100_000])
def test_a_text_without_an_object_stays_as_it_is(text):
    assert extract_json(text) == text


def test_a_fenced_answer_is_read():
    fenced = 'Sure!\n```json\n{"content": "a", "style": "b"}\n```'
    with BadServer([Step(message={"content": fenced})]) as server:
        assert ask_one(server, structured="none").text == '{"content": "a", "style": "b"}'


# Before the start


def test_an_unknown_model_is_refused_naming_some_that_are_there():
    with (
        BadServer(models=["paint-8b", "whale", "zebra", "a", "b", "c", "d", "e"]) as server,
        pytest.raises(
            FileNotFoundError, match="has no model painter: give --model, for example paint-8b, "
        ) as e,
    ):
        start(server)
    assert len(str(e.value).split("for example")[1].split(",")) == 5


@pytest.mark.parametrize(
    "models",
    [
        refusal(404),
        refusal(405),
        refusal(503),
        Step(body="no JSON"),
        Step(body={"data": "odd"}),
        Step(body=[]),
        Step(body={"data": []}),
        ["other", "painter:latest"],
    ],
    ids=str,
)
def test_a_server_without_a_list_of_models_is_believed(models):
    with BadServer(models=models) as server:
        assert is_good(ask_one(server))


def test_a_refused_key_is_said_at_the_start(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with (
        BadServer(models=refusal(401, f"wrong key {KEY}")) as server,
        pytest.raises(ValueError, match="environment variable OPENAI_API_KEY") as error,
    ):
        start(server)
    assert KEY not in str(error.value)


def test_a_server_that_is_not_there_is_said():
    with BadServer() as server:
        pass
    with pytest.raises(FileNotFoundError, match=r"127\.0\.0\.1:\d+/v1 is not reachable: is it running"):
        start(server)


@pytest.mark.parametrize(
    "address", [None, "", "localhost:8000", "ftp://a/v1", "http://", "http://[::1", "http://a:b/v1"]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ValueError, match="give --base-url"):
        check_address(address)


@pytest.mark.parametrize(
    "address", ["https://me:hush@a/v1", "https://a/v1?api-key=hush", "https://a/v1#hush"]
)
def test_secrets_in_the_address_are_refused_and_not_repeated(address):
    with pytest.raises(ValueError, match=r"take user, password, \? and # out of --base-url") as error:
        OpenAiEngine("painter", ServerOptions(base_url=address))
    assert "hush" not in str(error.value)


def test_a_server_elsewhere_needs_a_key():
    options = ServerOptions(base_url="https://models.invalid/v1", key_env="MY_KEY")
    with pytest.raises(ValueError, match="the environment variable MY_KEY is not set") as error:
        OpenAiEngine("painter", options)
    assert str(error.value).count(".") == 0


@pytest.mark.parametrize("key", ["sk-a\nb", "sk-ä", "sk a b"])
def test_a_key_that_cannot_be_one_is_refused_and_not_repeated(key, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with BadServer() as server, pytest.raises(ValueError, match="holds characters that no key has") as error:
        start(server)
    assert key not in str(error.value)


def test_a_key_over_plain_http_is_warned_of(monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(FileNotFoundError):
        OpenAiEngine("painter", ServerOptions(base_url="http://models.invalid/v1", timeout=5.0))
    said = capsys.readouterr().err
    assert "the key goes to http://models.invalid/v1 unencrypted" in said
    assert KEY not in said


# The key


def test_the_key_is_sent_and_a_server_here_needs_none(monkeypatch):
    with BadServer() as server:
        ask_one(server)
        monkeypatch.setenv("MY_KEY", KEY)
        monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin")
        ask_one(server, key_env="MY_KEY")
    assert [seen.key for seen in server.seen] == ["Bearer none", f"Bearer {KEY}"]
    assert "sk-admin" not in str([seen.headers for seen in server.seen])


def test_the_key_is_in_no_word_of_ours(monkeypatch, capsys, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    echo = f"key {KEY} is bad"
    with BadServer([refusal(400, echo), refusal(500, echo), refusal(429, echo)]) as server:
        engine = start(server, max_retries=2)
        for number in range(2):
            engine.submit(request(number))
        answers = collect(engine) + collect(engine)
        seen = [repr(engine), str(engine.__class__), repr(answers)]
        engine.close()
    with BadServer(lambda number, seen: refusal(500, echo)) as server:
        seen.append(lost(server, max_retries=0))
    with BadServer([refusal(401, echo)]) as server:
        seen.append(lost(server))
    said = capsys.readouterr()
    facts = server_facts("painter", ServerOptions(base_url="http://a/v1"))
    text = "\n".join([*seen, said.out, said.err, caplog.text, json.dumps(facts)])
    assert "***" in text
    assert KEY not in text


def test_facts_for_the_manifest():
    options = ServerOptions(base_url="https://me:hush@host:8443/v1/?key=hush", structured="schema")
    assert server_facts("painter", options) == {
        "name": "openai",
        "version": None,
        "model": "painter",
        "base_url": "https://host:8443/v1",
        "structured": "schema",
    }


def test_cost():
    prices = ServerOptions(price_input=2.5, price_output=10.0)
    assert cost(1_000_000, 500_000, prices) == pytest.approx(7.5)
    assert cost(1, 1, ServerOptions(price_input=2.5)) is None


def test_a_proxy_is_not_used_for_this_machine(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with BadServer() as server:
        assert is_good(ask_one(server))


# The end


def test_close_drops_what_is_in_flight_and_leaves_nothing():
    with BadServer(lambda number, seen: Step(delay=30.0)) as server:
        engine = start(server, timeout=60.0)
        for number in range(20):
            engine.submit(request(number))
        while not server.seen:
            time.sleep(0.01)
        began = time.monotonic()
        engine.close()
        engine.close()
        assert time.monotonic() - began < 10
        with pytest.raises(EngineLost, match="closed"):
            collect(engine)
        with pytest.raises(EngineLost, match="closed"):
            engine.submit(request())
    assert not [thread for thread in threading.enumerate() if thread.name == "openai"]
    # A socket or loop that was left open warns here, and a warning is an error.
    gc.collect()


def test_ctrl_c_comes_through():
    with BadServer(lambda number, seen: Step(delay=30.0)) as server:
        engine = start(server, timeout=60.0)
        engine.submit(request())
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            collect(engine)
        timer.join()
        engine.close()


# A whole run


@pytest.fixture
def card(tmp_path):
    return make_corpus(tmp_path / "data", 40)


def rows(out):
    return {row["sticker_id"]: row for row in read_descriptions(out).to_pylist()}


def run(settings, server, **options):
    engines = []

    def begin(_source, _config):
        engines.append(start(server, **{"max_retries": 8, "timeout": 0.5, "backoff": 0.002, **options}))
        return engines[0]

    try:
        return describe(settings, start_engine=begin)
    finally:
        for engine in engines:
            engine.close()


def test_a_run_on_a_failing_server_has_the_rows_of_an_unfailing_one(card, tmp_path):
    run_known(config(card, tmp_path / "known"))
    bad = [
        refusal(500),
        refusal(503, Retry_After="0"),
        refusal(429),
        Step(silent=True),
        Step(cut=True),
        Step(body="{"),
        Step(body={"choices": []}),
        Step(delay=2.0),
    ]
    dice = random.Random(7)

    def script(number, seen):
        return dice.choice(bad) if dice.random() < 0.4 else GOOD

    with BadServer(script) as server:
        stats = run(config(card, tmp_path / "out", window=16), server)
    assert stats["ok"] == 40
    assert len(server.seen) > 50
    found, known = rows(tmp_path / "out"), rows(tmp_path / "known")
    assert found == known


def test_a_run_whose_server_stops_goes_on_later(card, tmp_path):
    out = tmp_path / "out"

    def script(number, seen):
        if number == 25:
            server.stop()
            return Step(silent=True)
        return GOOD

    with BadServer(script) as server, pytest.raises(EngineLost, match="gave no answer in 3 tries"):
        run(config(card, out), server, max_retries=2)
    kept = len(rows(out))
    assert 8 <= kept <= 25
    with BadServer() as server:
        stats = run(config(card, out), server)
    assert len(server.seen) == 40 - kept
    assert stats["ok"] == stats["rows"] == 40
    assert verify_run(out, load_corpus(load_card(card), card.parent)) == []
    for name, row in rows(out).items():
        assert row["style"] == f"style of {int(Path(name).stem)}-0-128"
