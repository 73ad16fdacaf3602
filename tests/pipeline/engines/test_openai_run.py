"""The engine for servers against one that misbehaves: addresses, keys, the end, whole runs."""

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
from describe_bench import config, make_corpus, rows
from describe_bench import run as run_known
from openai_bench import KEY, ask_one, collect, is_good, lost, request, start
from openai_bench import no_key as no_key

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.describe.run import describe
from mghft.pipeline.engines import openai_engine
from mghft.pipeline.engines.endpoint import check_address
from mghft.pipeline.engines.factory import server_facts
from mghft.pipeline.engines.openai_client import ChatClient
from mghft.pipeline.engines.openai_engine import OpenAiEngine
from mghft.pipeline.engines.options import ServerOptions
from mghft.pipeline.errors import EngineDiedError, WrongSettingsError
from mghft.pipeline.runs.status import verify_run

# Before the start


def test_a_model_that_is_not_listed_is_asked_for_all_the_same(capsys):
    """Lists leave out deployments and routes; the nearest names are said."""
    with BadServer(models=["paint-8b", "whale", "zebra", "a", "b", "c", "d", "e"]) as server:
        assert is_good(ask_one(server))
    said = capsys.readouterr().err
    assert "does not list the model painter, and is asked for it all the same; it lists paint-8b, " in said
    assert len(said.split("it lists")[1].split(",")) == 5


def test_a_model_that_is_neither_listed_nor_known_is_refused_with_the_nearest_names():
    with BadServer(models=["paint-8b", "whale"], simple=lambda seen: refusal(404, "no such model")) as server:
        words = lost(server)
    assert "(404 no such model): check --model painter, it lists paint-8b, whale" in words
    assert "/v1," not in words


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
        refusal(401, "this key may not list models"),
        ["other", "painter:latest"],
        ["other", "models/painter"],
        Step(body=[{"id": "painter"}]),
        Step(body={"models": [{"name": "painter:latest"}]}),
    ],
    ids=str,
)
def test_a_server_without_a_list_of_models_is_believed(models, capsys):
    with BadServer(models=models) as server:
        assert is_good(ask_one(server))
    assert "does not list" not in capsys.readouterr().err


def test_a_refused_key_is_said_at_the_start(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    wrong = refusal(401, f"wrong key {KEY}")
    with (
        BadServer(models=wrong, simple=lambda seen: wrong) as server,
        pytest.raises(WrongSettingsError, match="environment variable OPENAI_API_KEY") as error,
    ):
        start(server)
    assert error.value.exit_code == 2
    assert len(server.asked_simply) == 2
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


def test_a_slow_first_answer_is_waited_for_with_a_word(monkeypatch, capsys):
    monkeypatch.setattr(openai_engine, "_SAY_SECONDS", 0.2)
    with BadServer(simple=lambda seen: Step(delay=0.5)) as server:
        assert is_good(ask_one(server))
    assert "describe: waiting for the server's first answer, 0 s so far\n" in capsys.readouterr().err


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
    for status in (401, 404, 500, 503):
        with BadServer(simple=lambda _seen, status=status: refusal(status, echo)) as server:
            seen.append(lost(server, max_retries=0))
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


@pytest.mark.parametrize(
    ("prices", "money"),
    [
        ({"price_input": 2.5, "price_output": 10.0}, 7.5),
        ({"price_input": 2.5}, 2.5),
        ({"price_output": 10.0}, 5.0),
        ({"price_input": 0.0}, 0.0),
        ({}, None),
    ],
)
def test_a_price_that_is_not_given_counts_nothing(prices, money):
    assert ServerOptions(**prices).cost(1_000_000, 500_000) == money


def test_a_proxy_is_not_used_for_this_machine(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with BadServer() as server:
        assert is_good(ask_one(server))


# The end


def test_a_client_that_cannot_be_made_ends_the_start(monkeypatch):
    async def fail(_self):
        raise RuntimeError("no more sockets")

    monkeypatch.setattr(ChatClient, "__aenter__", fail)
    options = ServerOptions(base_url="http://localhost:9/v1")
    with pytest.raises(EngineDiedError, match="the engine broke: RuntimeError: no more sockets"):
        OpenAiEngine("painter", options)


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
        with pytest.raises(EngineDiedError, match="closed"):
            collect(engine)
        with pytest.raises(EngineDiedError, match="closed"):
            engine.submit(request())
    assert not [thread for thread in threading.enumerate() if thread.name == "openai"]
    # A socket or loop that was left open warns here, and a warning is an error.
    gc.collect()


def test_ctrl_c_comes_through():
    # A shell starts its background jobs with the signal ignored, and the tests may be one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with BadServer(lambda number, seen: Step(delay=30.0)) as server:
        engine = start(server, timeout=60.0)
        engine.submit(request())
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            collect(engine)
        timer.join()
        engine.close()
    signal.signal(signal.SIGINT, before)


# A whole run


@pytest.fixture
def card(tmp_path):
    return make_corpus(tmp_path / "data", 40)


def run(settings, server, **options):
    engines = []

    def begin():
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

    with BadServer(script) as server, pytest.raises(EngineDiedError, match="gave no answer in 3 attempts"):
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


def test_dataset_card_names_no_weights_that_nobody_knows(card, tmp_path):
    with BadServer() as server:
        options = ServerOptions(base_url=server.url)
        run(config(card, tmp_path / "out", engine="openai", model="painter", server=options, limit=2), server)
    said = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "model `painter`, prompt pack `multiview`, engine openai." in said
