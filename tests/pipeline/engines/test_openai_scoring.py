"""Choices and log-probabilities over OpenAI's protocol: what is sent, what is read, what a server refuses."""

import json
import math
from dataclasses import replace

import pytest
from bad_server import GOOD, BadServer, Step, refusal
from openai_bench import ask, ask_one, request

from mghft.pipeline.engines.base import RequestKey
from mghft.pipeline.engines.openai_scoring import read_logprobs
from mghft.pipeline.prompting.pack import Sampling

pytestmark = pytest.mark.usefixtures("no_key")
WORDS = ("anger", "fear", "joy")
LETTERS = ("A", "B", "C")


@pytest.fixture
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def choice(number=1):
    return replace(request(number), schema=None, choice=WORDS)


def score(number=1):
    sampling = Sampling(max_tokens=1)
    return replace(request(number), schema=None, score=LETTERS, sampling=sampling)


def free(number=1):
    return replace(request(number), schema=None)


def told(*tokens, text="A"):
    """A reply of one token with the likeliest ones."""
    entries = [{"token": token, "logprob": value, "bytes": None} for token, value in tokens]
    content = [{**entries[0], "top_logprobs": entries}]
    message = {"role": "assistant", "content": text}
    reply = {
        "choices": [{"message": message, "finish_reason": "length", "logprobs": {"content": content}}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 1},
    }
    return Step(body=reply)


def says(text):
    return Step(message={"content": text})


def one(server, what, **options):
    answers, _ = ask(server, what, **options)
    return answers["key 1"]


def test_a_choice_goes_as_an_enum_and_comes_back_as_the_word():
    with BadServer([says('{"answer": "fear"}')]) as server:
        answer = one(server, choice())
    assert (answer.text, answer.error) == ("fear", None)
    body = server.seen[0].body
    assert body["response_format"]["json_schema"] == {
        "name": "answer",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"answer": {"type": "string", "enum": ["anger", "fear", "joy"]}},
            "required": ["answer"],
            "additionalProperties": False,
        },
    }
    assert 'JSON object with the key "answer"' in server.seen[0].parts[-1]["text"]
    assert "logprobs" not in body


def test_a_server_without_structure_is_asked_for_the_word_alone():
    with BadServer([says("Fear.")]) as server:
        answer = one(server, choice(), structured="none")
    assert answer.text == "Fear."
    assert "response_format" not in server.seen[0].body
    assert server.seen[0].parts[-1]["text"] == "what?"


def test_a_free_text_has_no_structure_and_is_read_as_it_is():
    with BadServer([says("Joy, I think.")]) as server:
        answer = one(server, free())
    assert (answer.text, answer.logprobs) == ("Joy, I think.", None)
    assert "response_format" not in server.seen[0].body


def test_log_probabilities_of_the_letters():
    reply = told(("B", -0.3), (" A", -2.0), ("A", -3.0), ("The", -4.0), ("C", -5.0), ("x", -9.0))
    with BadServer([reply]) as server:
        answer = one(server, score())
    assert answer.logprobs == {
        "A": pytest.approx(math.log(math.exp(-2) + math.exp(-3))),
        "B": pytest.approx(-0.3),
        "C": pytest.approx(-5.0),
    }
    assert (answer.unseen, answer.error, answer.prompt_tokens) == (0, None, 5)
    body = server.seen[0].body
    assert (body["logprobs"], body["top_logprobs"], body["max_tokens"]) == (True, 20, 1)


def test_letters_that_are_not_told_get_the_smallest_value_told():
    with BadServer([told(("B", -0.3), ("The", -7.5), ("So", -6.0))]) as server:
        answer = one(server, score())
    assert answer.logprobs == {"A": -7.5, "B": pytest.approx(-0.3), "C": -7.5}
    assert answer.unseen == 2


def test_an_empty_token_is_no_fault():
    with BadServer([told(("", -0.3), ("A", -1.0), text="")]) as server:
        answer = one(server, score())
    assert answer.error is None
    assert answer.logprobs["A"] == pytest.approx(-1.0)


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        [],
        {},
        {"content": None},
        {"content": []},
        {"content": [None]},
        {"content": "A"},
        {"content": [{"top_logprobs": [{"token": 3, "logprob": "x"}]}]},
        {"content": [{"token": "A", "logprob": float("nan")}]},
    ],
)
def test_replies_without_log_probabilities(logprobs):
    assert read_logprobs({"choices": [{"logprobs": logprobs}]}, LETTERS) == (None, 0)


def test_a_server_that_tells_none_answers_all_the_same():
    with BadServer([says("A")]) as server:
        answer = one(server, score())
    assert (answer.text, answer.logprobs, answer.error) == ("A", None, None)


def test_a_server_that_refuses_log_probabilities_is_asked_without(capsys):
    def no_logprobs(seen):
        return refusal(400, "logprobs is not supported") if "logprobs" in seen.body else GOOD

    with BadServer(lambda _number, seen: no_logprobs(seen), simple=no_logprobs) as server:
        answers, _ = ask(server, *(score(n) for n in range(1, 4)), replace(choice(4), key=RequestKey("word")))
    assert all(answer.error is None and answer.logprobs is None for answer in answers.values())
    assert "the server takes no logprobs; going on with structured=schema" in capsys.readouterr().err
    # The choice keeps its schema, whatever was left out of the others.
    (word,) = [seen for seen in server.seen if "response_format" in seen.body]
    assert word.body["response_format"]["type"] == "json_schema"


def test_requests_for_views_are_sent_as_before():
    with BadServer() as server:
        answer = ask_one(server)
    assert set(json.loads(answer.text)) == {"content", "style", "intention", "details"}
    assert server.seen[0].body["response_format"]["json_schema"]["name"] == "views"
    assert "logprobs" not in server.seen[0].body
