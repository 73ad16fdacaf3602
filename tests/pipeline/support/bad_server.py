"""A chat server on 127.0.0.1 that misbehaves as told, knows stickers by their colour, keeps what it gets."""

import base64
import http.server
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from PIL import Image


@dataclass(frozen=True)
class Step:
    """One reply. `body` None is the good answer; a string goes out as it is.

    Attributes:
        message: goes into the message of the good answer.
        top: goes into the top of the good answer.
        cut: the connection ends in the middle of the body.
        silent: the connection ends without a word.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: bool = False
    silent: bool = False
    message: dict[str, Any] = field(default_factory=dict)
    top: dict[str, Any] = field(default_factory=dict)
    finish: str = "stop"


GOOD = Step()


def refusal(status: int, words: str = "no", **headers: str) -> Step:
    """An error as OpenAI words it."""
    return Step(status, {"error": {"message": words}}, {k.replace("_", "-"): v for k, v in headers.items()})


@dataclass
class Seen:
    """A chat request that came in."""

    at: float
    body: dict[str, Any]
    key: str | None
    headers: dict[str, str]

    @property
    def parts(self) -> list[dict[str, Any]]:
        return self.body["messages"][-1]["content"]

    @property
    def image(self) -> Image.Image | None:
        if self.parts[0]["type"] != "image_url":
            return None
        content = self.parts[0]["image_url"]["url"].removeprefix("data:image/png;base64,")
        with Image.open(BytesIO(base64.b64decode(content))) as image:
            image.load()
            return image

    @property
    def simple(self) -> bool:
        """Whether it is a question of the engine's own, about its white square, its face, or nothing."""
        return self.image is None or self.image.size in ((64, 64), (256, 256))


def good_reply(seen: Seen) -> dict[str, Any]:
    """What a server that works answers: the views, each with the picture's colour."""
    image = seen.image
    colour = "no picture" if image is None else "-".join(map(str, image.getpixel((0, 0))))
    keys = ("content", "style", "intention", "details")
    message = {"role": "assistant", "content": json.dumps({key: f"{key} of {colour}" for key in keys})}
    return {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 9},
    }


class BadServer:
    """Answers the first chat requests about stickers with the steps of the script, all further ones well.

    Args:
        script: steps, or a function of the request's number (from 0) and the request.
        models: the reply of /models: names, or a step.
        simple: what the engine's own simple questions are answered with, a function of the request; None: as
            the script says, if it is a function of the number 0 and the request.
        paths: what any other path is answered with, None for a 404.

    Attributes:
        seen: requests about stickers.
        asked_simply: simple questions.
    """

    def __init__(
        self,
        script: Sequence[Step] | Callable[[int, Seen], Step] = (),
        models: Sequence[str] | Step = ("painter",),
        simple: Callable[[Seen], Step] | None = lambda _seen: GOOD,
        paths: Callable[[str], Step | None] | None = None,
    ) -> None:
        self.script, self.models, self.simple, self.paths = script, models, simple, paths
        self.seen: list[Seen] = []
        self.asked_simply: list[Seen] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.stopped = threading.Event()

    def __enter__(self) -> "BadServer":
        server = self
        handler = type("Bound", (_Handler,), {"owner": server})
        self.http = _Http(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    def stop(self) -> None:
        """From now on every connection is closed without a word."""
        self.stopped.set()

    def step(self, seen: Seen) -> Step:
        if seen.simple:
            with self.lock:
                self.asked_simply.append(seen)
            if self.simple is not None:
                return self.simple(seen)
            return self.script(0, seen) if callable(self.script) else GOOD
        with self.lock:
            number = len(self.seen)
            self.seen.append(seen)
        if callable(self.script):
            return self.script(number, seen)
        return self.script[number] if number < len(self.script) else GOOD


class _Http(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that went away is no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: BadServer

    def log_message(self, *_: object) -> None:
        """Silent."""

    def do_GET(self) -> None:
        models = self.owner.models
        step = models if isinstance(models, Step) else Step(body={"data": [{"id": name} for name in models]})
        if self.path != "/v1/models":
            step = (self.owner.paths and self.owner.paths(self.path)) or refusal(404)
        self._send(step, {})

    def do_POST(self) -> None:
        owner = self.owner
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if owner.stopped.is_set():
            self.close_connection = True
            return
        with owner.lock:
            owner.at_once += 1
            owner.most_at_once = max(owner.most_at_once, owner.at_once)
        try:
            seen = Seen(time.monotonic(), body, self.headers.get("authorization"), dict(self.headers))
            if self.path == "/v1/chat/completions":
                step = owner.step(seen)
            else:
                step = (owner.paths and owner.paths(self.path)) or refusal(404, "no such path")
            owner.stopped.wait(step.delay)
            reply = good_reply(seen)
            reply["choices"][0]["message"].update(step.message)
            reply["choices"][0]["finish_reason"] = step.finish
            self._send(step, {**reply, **step.top})
        finally:
            with owner.lock:
                owner.at_once -= 1

    def _send(self, step: Step, good: dict[str, Any]) -> None:
        if step.silent:
            self.close_connection = True
            return
        body = good if step.body is None else step.body
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(step.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), **step.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if step.cut:
            content = content[: len(content) // 2]
            self.close_connection = True
        self.wfile.write(content)
