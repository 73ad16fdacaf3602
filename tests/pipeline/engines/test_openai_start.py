"""What is found out before the first sticker: no pictures, a shut door, a wrong address, a web page."""

import re

import pytest
from bad_server import GOOD, BadServer, Step, refusal
from openai_bench import ask_one, everywhere, is_good, lost, start
from openai_bench import no_key as no_key

from mghft.pipeline.engines.endpoint import other_addresses
from mghft.pipeline.errors import WrongSettingsError


@pytest.mark.parametrize(
    "step",
    [
        refusal(500, "this model is missing data required for image input"),
        refusal(400, "At most 0 image(s) may be provided in one prompt."),
        refusal(404, "No endpoints found that support image input"),
        Step(422, {"detail": "unknown variant `image_url`, expected `text`"}),
        Step(body={"error": "Model does not support images."}),
    ],
    ids=lambda step: f"{step.status}",
)
def test_a_model_without_pictures_is_found_before_the_first_sticker(step):
    with everywhere(lambda seen: GOOD if seen.image is None else step) as server:
        words = lost(server)
    assert "answers questions, but none about a picture" in words
    assert re.search("image", words)
    assert "is back" not in words
    assert server.seen == []
    assert len(server.asked_simply) <= 6


@pytest.mark.parametrize(
    "step",
    [refusal(500, "image input is not supported"), refusal(400, "bad"), Step(body={"error": "unknown path"})],
    ids=["500", "400", "200"],
)
def test_a_lasting_refusal_of_everything_is_not_tried_nine_times(step):
    with everywhere(lambda seen: step) as server, pytest.raises(WrongSettingsError) as error:
        start(server, max_retries=8)
    assert "answers no question" in str(error.value)
    assert re.search("image input|bad|unknown path", str(error.value))
    assert "is back" not in str(error.value)
    assert len(server.asked_simply) <= 8


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "check the key in the environment variable OPENAI_API_KEY"), (402, "no money left")],
)
def test_a_door_that_is_shut_is_not_knocked_at_in_other_forms(status, words):
    with everywhere(lambda seen: refusal(status, "no")) as server:
        assert words in lost(server)
    assert len(server.asked_simply) == 2


def test_a_server_that_is_starting_is_waited_for():
    answers = iter([refusal(503, "Loading model")] * 3)
    with BadServer(simple=lambda seen: next(answers, GOOD)) as server:
        assert is_good(ask_one(server))


@pytest.mark.parametrize(
    ("ending", "meant"),
    [("", "/v1"), ("/v1/chat/completions", "/v1"), ("/api", "/v1"), ("/v1/models", "/v1"), ("/chat", "/v1")],
)
def test_an_address_that_is_nearly_right_is_put_right(ending, meant):
    """Servers answer unknown paths with 404, or with 200 and an error."""
    for wrong in (refusal(404, "no such path"), Step(body={"error": "Unexpected endpoint or method."})):
        with BadServer(paths=lambda path, wrong=wrong: wrong) as server:
            right = server.url
            server.url = right.removesuffix("/v1") + ending
            words = lost(server)
        assert words.endswith(f"give --base-url {right.removesuffix('/v1')}{meant}")


def test_other_addresses_begin_with_the_likeliest():
    assert other_addresses("https://host/v1/chat/completions")[0] == "https://host/v1"
    assert other_addresses("http://host:1234")[0] == "http://host:1234/v1"
    assert "https://host/api/v1" in other_addresses("https://host")
    assert "https://host/v1" not in other_addresses("https://host/v1")


def test_a_web_page_in_place_of_an_answer_is_named():
    page = Step(
        body="<!DOCTYPE html><html><title>Open WebUI</title></html>", headers={"Content-Type": "text/html"}
    )
    with everywhere(lambda seen: page, models=page) as server:
        words = lost(server)
    assert "the answer is a web page (Open WebUI)" in words
    assert "--base-url" in words
