"""What stands before every request: hosts, origin, key, size of the body, headers of the answer, "
"one log line."""

from __future__ import annotations

import hmac
import json
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)
# Anybody may know whether the service lives, and load the page, which asks for the key itself.
_OPEN = frozenset({"/", "/healthz", "/page.js", "/page.css", "/colours.css"})
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class BodyTooLargeError(Exception):
    """More bytes came than a request may have."""


class Guard:
    """The middleware around the application.

    Args:
        app: the application.
        key: that clients have to send ("Authorization: Bearer KEY"); None asks nobody.
        max_bytes: of a request's body, counted as it comes.
        local_only: take requests for this machine's own names alone, so that a page of another site cannot
            reach the service by a name that it lets point here.
        observe: told status and seconds of every request to a path of the interface.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        key: str | None,
        max_bytes: int,
        local_only: bool,
        observe: Callable[[str, int, float], object],
    ) -> None:
        self._app, self._max_bytes, self._local_only, self._observe = app, max_bytes, local_only, observe
        self._key = None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(scope)
        began = time.perf_counter()

        async def counted() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                request.bytes += len(message.get("body", b""))
                if request.bytes > self._max_bytes:
                    raise BodyTooLargeError
            return message

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.status = message["status"]
                names = {name.lower() for name, _ in message.get("headers", [])}
                added = [header for header in _HEADERS if header[0] not in names]
                headers = [*message.get("headers", []), *added, (b"x-request-id", request.id.encode())]
                message = {**message, "headers": headers}
            await send(message)

        try:
            refusal = self._refusal(request)
            if refusal is not None:
                await _answer(answered, *refusal)
            else:
                # The application fills it in.
                scope["state"] = {**scope.get("state", {}), "request": request}
                await self._app(scope, counted, answered)
        except BodyTooLargeError:
            if not request.status:
                await _answer(answered, *self._too_large())
        finally:
            seconds = time.perf_counter() - began
            self._observe(request.path, request.status, seconds)
            request.log(seconds)

    def _refusal(self, request: _Request) -> tuple[int, str, dict[str, str]] | None:
        host, origin = request.header("host"), request.header("origin")
        try:
            name, site = urlsplit(f"//{host}").hostname or "", urlsplit(origin).netloc
        except ValueError:
            return 400, "the header Host or Origin is no address", {}
        if self._local_only and name not in _LOCAL_NAMES:
            return 421, "this service answers to the names of its own machine alone: localhost, 127.0.0.1", {}
        if origin and origin != "null" and site != host:
            return 403, "requests of other sites' pages are not answered", {}
        if origin == "null":
            return 403, "requests of pages without an origin are not answered", {}
        if self._key is not None and request.path not in _OPEN and not self._has_key(request):
            return 401, "a key is needed: Authorization: Bearer KEY", {"www-authenticate": "Bearer"}
        length = request.header("content-length")
        if length and (not length.isdecimal() or int(length) > self._max_bytes):
            return self._too_large()
        return None

    def _too_large(self) -> tuple[int, str, dict[str, str]]:
        return 413, f"the body is larger than the limit of {self._max_bytes} bytes", {"connection": "close"}

    def _has_key(self, request: _Request) -> bool:
        assert self._key is not None
        scheme, _, given = request.header("authorization").partition(" ")
        # In constant time, whatever was sent.
        return hmac.compare_digest(given.strip().encode("latin-1", "replace"), self._key) and (
            scheme.lower() == "bearer"
        )


class _Request:
    """What the log line says of a request; never a picture, a text or a key."""

    def __init__(self, scope: Scope) -> None:
        self.id = uuid.uuid4().hex[:12]
        self.method, self.path = str(scope["method"]), str(scope["path"])
        self._headers = {name.lower(): value for name, value in scope["headers"]}
        self.status = self.bytes = self.stickers = self.failed = 0

    def header(self, name: str) -> str:
        """Return a header, "" where it is missing."""
        value: bytes = self._headers.get(name.encode(), b"")
        return value.decode("latin-1")

    def log(self, seconds: float) -> None:
        """Write one line of JSON on standard error."""
        line: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request": self.id,
            "method": self.method,
            "path": self.path[:200],
            "status": self.status,
            "ms": round(1000 * seconds, 1),
            "bytes": self.bytes,
        }
        if self.stickers:
            line |= {"stickers": self.stickers, "failed": self.failed}
        print(json.dumps(line), file=sys.stderr, flush=True)


async def _answer(send: Send, status: int, sentence: str, headers: dict[str, str]) -> None:
    body = json.dumps({"detail": sentence}).encode()
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    pairs += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
