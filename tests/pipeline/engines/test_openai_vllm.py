"""The engine for servers against vLLM's own server with the shipped stand-in: a real server, real texts.

Run as a program it prints what the engine in its own process says to the same stickers.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from mghft.pipeline.engines.base import Engine, Request, RequestKey, Response
from mghft.pipeline.engines.model_source import find_model
from mghft.pipeline.engines.openai_engine import OpenAiEngine
from mghft.pipeline.engines.options import ServerOptions, VllmOptions
from mghft.pipeline.errors import WrongSettingsError
from mghft.pipeline.prompting.pack import Sampling
from mghft.pipeline.tiny_llava import checkpoint_path
from mghft.pipeline.views import VIEWS, views_schema

STICKERS = 40
KEY = "a-key-for-this-test"
SAMPLING = Sampling(temperature=0.0, max_tokens=120)


def picture(number):
    """Some shapes, the same in every process."""
    dice = random.Random(number)
    image = Image.new("RGB", (64, 64), "white")
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        left, top, width, height = (dice.randrange(40) for _ in range(4))
        draw = dice.choice([pen.ellipse, pen.rectangle])
        draw((left, top, left + width, top + height), fill=tuple(dice.randrange(256) for _ in range(3)))
    return image


def request(number, **sampling):
    settings = SAMPLING.model_copy(update=sampling)
    return Request(RequestKey(str(number)), picture(number), str(number), None, "?", views_schema(), settings)


def ask(engine: Engine, asked: list[Request]) -> dict[str, Response]:
    for request in asked:
        engine.submit(request)
    answers: dict[str, Response] = {}
    while len(answers) < len(asked):
        answers.update((answer.key.sticker_id, answer) for answer in engine.collect())
    return answers


@pytest.fixture(scope="module")
def texts_in_process():
    done = subprocess.run(
        [sys.executable, __file__],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def url(tmp_path_factory, texts_in_process):
    """vLLM's server; after the engine in the other process, since two at once only wait for each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager"]
    command += ["--model", checkpoint_path(), "--served-model-name", "tiny-llava", "--max-num-seqs", "8"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--generation-config", "vllm"]
    command += ["--structured-outputs-config", '{"backend":"xgrammar","disable_any_whitespace":true}']
    environment = {
        **os.environ,
        "VLLM_API_KEY": KEY,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("wb") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 180
        while True:
            assert server.poll() is None, log.read_text()[-4000:]
            assert time.monotonic() < deadline, log.read_text()[-4000:]
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.fixture
def engine(url, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    engine = OpenAiEngine("tiny-llava", ServerOptions(base_url=url, key_env="MY_KEY", max_retries=2))
    yield engine
    engine.close()


@pytest.mark.timeout(600)
def test_the_server_writes_the_texts_of_the_engine_in_this_process(texts_in_process, engine):
    answers = ask(engine, [request(n) for n in range(STICKERS)])
    for answer in answers.values():
        assert answer.error is None
        assert answer.finish_reason == "stop"
        assert list(json.loads(answer.text)) == list(VIEWS)
        assert answer.prompt_tokens > 0
        assert answer.output_tokens > 0
    assert {key: [a.text, a.prompt_tokens, a.output_tokens] for key, a in answers.items()} == texts_in_process
    assert len({answer.text for answer in answers.values()}) > STICKERS / 4
    assert engine.retries == 0


@pytest.mark.timeout(600)
def test_json_without_whitespace_is_the_servers_own_doing(engine):
    (answer,) = ask(engine, [request(0)]).values()
    assert answer.text == json.dumps(json.loads(answer.text), separators=(",", ":"), ensure_ascii=False)


@pytest.mark.timeout(600)
def test_a_limit_that_the_server_has_no_room_for_ends_the_run_and_is_named(url, engine, monkeypatch):
    """At the first request that has it, or before the first sticker."""
    words = r"takes no limit of 1000000 tokens \(400 .*lower max_tokens in the prompt pack"
    with pytest.raises(WrongSettingsError, match=words):
        ask(engine, [request(0, max_tokens=10**6)])
    monkeypatch.setenv("MY_KEY", KEY)
    with pytest.raises(WrongSettingsError, match=words):
        OpenAiEngine(
            "tiny-llava",
            ServerOptions(base_url=url, key_env="MY_KEY"),
            sampling=SAMPLING.model_copy(update={"max_tokens": 10**6}),
        )


@pytest.mark.timeout(600)
def test_modes_without_a_schema(url, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    for structured in ("object", "none"):
        options = ServerOptions(base_url=url, key_env="MY_KEY", structured=structured)
        engine = OpenAiEngine("tiny-llava", options)
        (answer,) = ask(engine, [request(0)]).values()
        engine.close()
        assert answer.error is None
        assert answer.output_tokens > 0


@pytest.mark.timeout(600)
def test_another_model_and_a_wrong_key_are_refused_at_the_start(url, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    with pytest.raises(WrongSettingsError, match="check --model painter, it lists tiny-llava"):
        OpenAiEngine("painter", ServerOptions(base_url=url, key_env="MY_KEY"))
    monkeypatch.setenv("MY_KEY", "another")
    with pytest.raises(
        WrongSettingsError, match=r"does not let us in \(401 Unauthorized\): check the key in"
    ):
        OpenAiEngine("tiny-llava", ServerOptions(base_url=url, key_env="MY_KEY"))


SCORED = ('{"', "A", "B")
CHOICES = ("anger", "fear", "joy")


def _scored(number):
    return replace(request(number), schema=None, score=SCORED, sampling=Sampling(max_tokens=1))


def _chosen(number):
    return replace(request(number), schema=None, choice=CHOICES)


@pytest.mark.timeout(600)
def test_choices_and_log_probabilities_of_a_real_server(engine):
    """The stand-in begins with a brace; a letter is not among its twenty likeliest tokens."""
    asked = [replace(_scored(n), key=RequestKey(f"score {n}")) for n in range(4)]
    asked += [replace(_chosen(n), key=RequestKey(f"choice {n}")) for n in range(4)]
    answers = ask(engine, asked)
    assert all(answer.error is None for answer in answers.values())
    for number in range(4):
        assert answers[f"choice {number}"].text in CHOICES
        answer = answers[f"score {number}"]
        assert answer.logprobs['{"'] == pytest.approx(0.0, abs=1e-3)
        assert answer.unseen == 2
        assert answer.logprobs["A"] == answer.logprobs["B"] < -5
        assert answer.output_tokens == 1


@pytest.mark.timeout(600)
def test_a_zero_shot_run_on_a_real_server(url, tmp_path, monkeypatch):
    from zero_shot_bench import config, make_corpus

    from mghft.pipeline.zero_shot import zero_shot

    monkeypatch.setenv("MY_KEY", KEY)
    engine = {"kind": "openai", "model": "tiny-llava", "server": {"base_url": url, "key_env": "MY_KEY"}}
    done = zero_shot(config(make_corpus(tmp_path / "data", 12), tmp_path / "run", engine=engine))
    assert (done.stats["rows"], done.stats["failed"]) == (8, 0)
    # It describes in place of a free reply, and no letter is among its likeliest tokens.
    names = ["M: choice", "M: official", "M without text: choice", "M without text: official"]
    assert [line["system"] for line in done.report.splits["test"]] == names
    for line in done.report.splits["test"]:
        assert line["non_answers"] == (4 if "official" in line["system"] else 0)
        assert line["tokens_per_sticker"] > 0
    notes = " ".join(done.report.notes)
    assert "the engine tells no log-probability of a letter: score and calibrated are left out" in notes
    assert "no bare label word" not in notes


def _main() -> None:
    from mghft.pipeline.engines.vllm_engine import VllmEngine

    engine = VllmEngine(find_model("tiny-llava"), VllmOptions(max_num_seqs=8))
    answers = ask(engine, [request(n) for n in range(STICKERS)])
    print(json.dumps({key: [a.text, a.prompt_tokens, a.output_tokens] for key, a in answers.items()}))


if __name__ == "__main__":
    _main()
