"""The engine for servers against one that misbehaves: what is tried again, and what ends the run."""

import email.utils
import time

import pytest
from bad_server import GOOD, BadServer, Step, refusal
from openai_bench import ask, ask_one, collect, is_good, lost, request, start
from openai_bench import no_key as no_key

from mghft.pipeline.engines.openai_protocol import retry_after
from mghft.pipeline.errors import EngineDiedError

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
        (refusal(503, "boom"), "gave no answer in 3 attempts (503 boom): start the command again"),
        (refusal(429, "slow down"), "gave no answer in 3 attempts (429 slow down)"),
        (Step(silent=True), "gave no answer in 3 attempts (no connection or a broken one"),
        (Step(delay=2.0), "gave no answer in 3 attempts (no answer within 0.3 s)"),
    ],
    ids=["503", "429", "closed", "slow"],
)
@pytest.mark.parametrize("later", [False, True])
def test_a_server_that_answers_nobody_ends_the_run(step, words, later):
    """At the start, and when it did answer before."""
    answered = []

    def simple(seen):
        answered.append(seen)
        return GOOD if later and len(answered) == 1 else step

    with BadServer(lambda number, seen: step, simple=simple) as server:
        assert words in lost(server, max_retries=2, timeout=0.3 if step.delay else 5.0)


@pytest.mark.parametrize("step", [refusal(500, "boom"), Step(body={"choices": []})], ids=["500", "empty"])
def test_a_fault_that_may_pass_is_waited_for_once_the_server_has_answered(step):
    answered = []

    def simple(seen):
        answered.append(seen)
        return GOOD if len(answered) == 1 else step

    with BadServer(lambda number, seen: step if number else GOOD, simple=simple) as server:
        engine = start(server, max_retries=2, concurrency=1)
        engine.submit(request(1))
        assert is_good(collect(engine)[0])
        engine.submit(request(2))
        with pytest.raises(EngineDiedError, match="gave no answer in 3 attempts"):
            collect(engine)
        engine.close()
    assert len(server.seen) == 1 + 3


def test_a_server_that_went_away_ends_the_run():
    with BadServer() as server:
        engine = start(server, max_retries=2)
    engine.submit(request())
    with pytest.raises(EngineDiedError, match="gave no answer in 3 attempts"):
        collect(engine)
    engine.close()


def test_a_wait_of_hours_ends_the_run():
    with BadServer([refusal(429, retry_after="7200")]) as server:
        assert "wants to be left alone for 7200 s" in lost(server)
    assert len(server.seen) == 1


def test_no_money_ends_the_run():
    """At the start, and in the middle of a run."""
    for body in (
        {"message": "You exceeded your quota", "code": "insufficient_quota"},
        {"message": "no", "type": "exceeded_current_quota_error"},
        {"message": "余额不足", "code": "1113"},
    ):
        for later in (False, True):
            empty, first = Step(429, {"error": body}), []

            def simple(_seen, empty=empty, first=first, later=later):
                first.append(1)
                return GOOD if later and len(first) == 1 else empty

            with BadServer(lambda number, seen, empty=empty: empty, simple=simple) as server:
                words = lost(server, max_retries=8)
            assert f"has no money left (429 {body['message']})" in words
            assert len(server.seen) <= 2


def test_a_quota_of_the_minute_is_waited_for():
    busy = Step(
        429, {"error": {"message": "Quota exceeded for requests per minute", "status": "RESOURCE_EXHAUSTED"}}
    )
    with BadServer([busy, busy]) as server:
        assert is_good(ask_one(server))


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_ends_the_run(status):
    """Mid-run, say because it was revoked."""
    first = []

    def simple(seen):
        first.append(seen)
        return refusal(status, "bad key") if len(first) > 1 else GOOD

    with BadServer(lambda number, seen: refusal(status, "bad key"), simple=simple) as server:
        words = lost(server, key_env="MY_KEY")
    assert f"does not let us in ({status} bad key): check the key in the environment variable MY_KEY" in words
    assert len(server.seen) == 2


def test_an_unknown_address_ends_the_run():
    with BadServer(simple=lambda seen: refusal(404, "Not Found"), models=refusal(404)) as server:
        words = lost(server)
    assert "(404 Not Found): check --model painter, and --base-url, which mostly ends in /v1" in words
    assert server.seen == []
    assert len(server.asked_simply) <= 8


def test_a_redirect_is_not_followed():
    elsewhere = Step(307, "", {"Location": "http://127.0.0.1:9/v1/chat/completions?key=hush"})
    with BadServer(simple=lambda seen: elsewhere) as server:
        words = lost(server)
    assert "redirects (307 http://127.0.0.1:9/v1/chat/completions): give --base-url" in words


def test_answers_from_before_the_end_are_handed_out():
    gone = Step(silent=True)
    with BadServer(
        lambda number, seen: GOOD if number < 5 else gone,
        simple=lambda seen: gone if server.seen else GOOD,
    ) as server:
        engine = start(server, concurrency=1, max_retries=1)
        for number in range(9):
            engine.submit(request(number))
        while engine._death is None:
            time.sleep(0.01)
        answers = collect(engine)
        with pytest.raises(EngineDiedError):
            collect(engine)
        engine.close()
    assert len(answers) == 5
    assert all(is_good(answer, int(answer.key.sticker_id.split()[1])) for answer in answers)


def test_refusals_of_everything_are_not_the_stickers_fault():
    """Found out with the second sticker and not with the twentieth."""

    def simple(seen):
        return refusal(400, "the licence has run out") if server.seen else GOOD

    with BadServer(lambda number, seen: refusal(400, "the licence has run out"), simple=simple) as server:
        words = lost(server, *(request(n) for n in range(60)), concurrency=4)
    assert "answers no question (400 the licence has run out)" in words
    assert len(server.seen) <= 8
