"""What the tests of the server engine share: requests, an engine on the bad server, what it answers."""

import json
import os

import pytest
from bad_server import BadServer
from PIL import Image

from mghft.pipeline.engines.base import Request, RequestKey
from mghft.pipeline.engines.openai_engine import OpenAiEngine
from mghft.pipeline.engines.options import ServerOptions
from mghft.pipeline.errors import EngineDiedError
from mghft.pipeline.prompting.pack import Sampling
from mghft.pipeline.views import VIEWS, views_schema

KEY = "sk-very-secret-0123456789"
SAMPLING = Sampling(temperature=0.5, top_p=0.9, max_tokens=77, seed=3)
FORMAT_REFUSED = "response_format json_schema is not supported by this model"


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    for name in [name for name in os.environ if name.startswith("OPENAI_")]:
        monkeypatch.delenv(name)


def request(number=1, system=None):
    image = Image.new("RGB", (8, 8), (number, 0, 128))
    return Request(RequestKey(f"key {number}"), image, str(number), system, "what?", views_schema(), SAMPLING)


def start(server, backoff=0.02, **options):
    options = {"max_retries": 3, "timeout": 5.0, **options}
    server_options = ServerOptions(base_url=server.url, **options)
    return OpenAiEngine("painter", server_options, backoff=backoff, sampling=SAMPLING)


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
            answers.update({answer.key.sticker_id: answer for answer in batch})
        return answers, engine.retries
    finally:
        engine.close()


def ask_one(server, **options):
    answers, _ = ask(server, **options)
    return answers["key 1"]


def lost(server, *requests, **options):
    """The sentence with which the engine is lost."""
    with pytest.raises(EngineDiedError) as error:
        ask(server, *requests, **options)
    return str(error.value)


def is_good(answer, number=1):
    return (
        answer.error is None
        and answer.finish_reason == "stop"
        and json.loads(answer.text) == {view: f"{view} of {number}-0-128" for view in VIEWS}
    )


def everywhere(answer, **options):
    """A server that treats stickers and simple questions alike."""
    return BadServer(lambda number, seen: answer(seen), simple=answer, **options)
