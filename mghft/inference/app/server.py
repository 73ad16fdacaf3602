"""The service: FastAPI and uvicorn around a batcher and the model's process."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from mghft.inference.app.batching import Batcher, QueueFullError
from mghft.inference.app.figures import Figures
from mghft.inference.app.middleware import BodyTooLargeError, Guard
from mghft.inference.app.requests import (
    PredictIn,
    PredictOut,
    RefusedError,
    items_of_form,
    items_of_json,
)
from mghft.inference.app.settings import ServeConfig
from mghft.inference.app.worker import Item, ModelWorker, WorkerDiedError
from mghft.pipeline.html import TEMPLATES
from mghft.pipeline.source import project_version
from mghft.pipeline.waiting import now_doing

STATIC = Path(__file__).resolve().parent / "static"
_TYPES = {"page.js": "text/javascript", "page.css": "text/css"}
# Of a form beside its files: lists of views.
_MAX_FIELD = 2**20
# Between two tries to start the model again.
_RESTART_SECONDS = 2.0
_STOP_SECONDS = 30
_ENDING = (signal.SIGTERM, signal.SIGINT)


class Service:
    """The model behind the interface: starts it, starts it again, and hands it batches."""

    def __init__(self, config: ServeConfig, worker: ModelWorker | None = None) -> None:
        self.config, self.figures = config, Figures()
        self.worker = worker or ModelWorker(config)
        # The worker answers one batch at a time.
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self.model: dict[str, Any] | None = None
        self.batcher = Batcher(
            self._predict,
            max_batch=config.max_batch,
            wait=config.batch_wait,
            max_queue=config.max_queue,
            observe=self.figures.batch.observe,
        )
        self._restarting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load the model; raises ValueError where that cannot be."""
        self.model = await self._in_thread(self.worker.start)
        self.figures.worker_starts.inc()
        self.batcher.start()

    async def stop(self) -> None:
        """End batcher and model."""
        await self.batcher.stop()
        if self._restarting is not None:
            self._restarting.cancel()
        await self._in_thread(self.worker.close)
        self._threads.shutdown()

    async def predict(self, items: Sequence[Item]) -> list[dict[str, Any]]:
        """Classify the stickers of a request; raises RefusedError with a status."""
        try:
            return await asyncio.wait_for(self.batcher.submit(items), self.config.timeout)
        except QueueFullError:
            raise RefusedError(
                429,
                f"{self.batcher.pending} stickers wait already, the limit is {self.config.max_queue}: "
                "try again later",
                {"retry-after": "1"},
            ) from None
        except TimeoutError:
            raise RefusedError(504, f"no answer within {self.config.timeout:g} s") from None
        except WorkerDiedError:
            raise RefusedError(
                503, "the model's process ended over this batch and is started again", {"retry-after": "5"}
            ) from None

    async def _predict(self, items: Sequence[Item]) -> list[dict[str, Any]]:
        if self._restarting is not None:
            await asyncio.shield(self._restarting)
        try:
            rows: list[dict[str, Any]] = await self._in_thread(self.worker.predict, items)
            return rows
        except WorkerDiedError:
            self.model = None
            self._restarting = asyncio.create_task(self._restart())
            raise

    async def _restart(self) -> None:
        try:
            while True:
                try:
                    self.model = await self._in_thread(self.worker.start)
                    self.figures.worker_starts.inc()
                    return
                except (ValueError, WorkerDiedError) as error:
                    print(f"mghft serve: the model cannot be started again: {error}", file=sys.stderr)
                    await asyncio.sleep(_RESTART_SECONDS)
        finally:
            self._restarting = None

    async def _in_thread(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


def create_app(config: ServeConfig, service: Service | None = None) -> Any:
    """Return the application (ASGI), its model loaded when it starts.

    Args:
        config: of the service.
        service: another than the configuration's.
    """
    service = service or Service(config)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="mghft",
        version=project_version(),
        summary="Emotions of stickers and memes.",
        lifespan=lifespan,
        # The pages that FastAPI offers load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    _add_interface(app, service)
    _add_page(app)
    return Guard(
        app,  # type: ignore[arg-type]
        key=os.environ.get(config.key_env) or None,
        max_bytes=config.max_request_bytes,
        local_only=config.is_loopback,
        observe=service.figures.observe,
    )


def _add_interface(app: FastAPI, service: Service) -> None:
    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RefusedError)
        return JSONResponse({"detail": str(error)}, error.status, headers=error.headers)

    @app.exception_handler(BodyTooLargeError)
    async def too_large(request: Request, error: Exception) -> JSONResponse:
        limit = service.config.max_request_bytes
        # What the client still sends is not read.
        return JSONResponse(
            {"detail": f"the body is larger than the limit of {limit} bytes"}, 413, {"connection": "close"}
        )

    @app.post(
        "/v1/predict",
        response_model=PredictOut,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": PredictIn.model_json_schema(ref_template="#/x/{model}")},
                    "multipart/form-data": {
                        "schema": {
                            "type": "object",
                            "required": ["files"],
                            "properties": {
                                "files": {
                                    "type": "array",
                                    "items": {"type": "string", "format": "binary"},
                                },
                                "views": {"type": "string", "description": "JSON list, one entry per file"},
                                "texts": {"type": "string", "description": "JSON list, one entry per file"},
                                "overlay": {"type": "boolean"},
                            },
                        }
                    },
                },
            }
        },
        responses={
            401: {"description": "the key is missing or wrong"},
            413: {"description": "body or number of stickers over the limit"},
            422: {"description": "the request is no request; `detail` says why"},
            429: {"description": "too many stickers wait; Retry-After says when to come again"},
            503: {"description": "the model's process ended over this batch"},
            504: {"description": "no answer in time"},
        },
    )
    async def predict(request: Request) -> dict[str, Any]:
        """Say the emotion of stickers; one that cannot be read has an error of its own."""
        items = await _items(request, service.config)
        rows = await service.predict(items)
        for row in rows:
            if isinstance(row.get("overlay"), bytes):
                row["overlay"] = base64.b64encode(row["overlay"]).decode()
        failed = sum(row["error"] is not None for row in rows)
        logged = request.scope["state"]["request"]
        logged.stickers, logged.failed = len(rows), failed
        service.figures.stickers.labels("failed").inc(failed)
        service.figures.stickers.labels("predicted").inc(len(rows) - failed)
        return {"predictions": rows}

    @app.get("/v1/model")
    async def model() -> JSONResponse:
        """Say which labels and views there are, and the limits."""
        config = service.config
        limits = {
            "request_bytes": config.max_request_bytes,
            "stickers": config.max_stickers,
            "pixels": config.max_pixels,
        }
        if service.model is None:
            return JSONResponse({"detail": "the model is being started"}, 503)
        return JSONResponse({**service.model, "limits": limits, "version": project_version()})

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        """Say whether the model is there: 200, or 503 while it is started again."""
        ready = service.model is not None
        return JSONResponse({"status": "ok" if ready else "starting"}, 200 if ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Say the figures, for Prometheus."""
        service.figures.queue.set(service.batcher.pending)
        return Response(service.figures.text(), media_type="text/plain; version=0.0.4")


async def _items(request: Request, config: ServeConfig) -> list[Item]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return items_of_json(await request.body(), config)
    if kind != "multipart/form-data":
        raise RefusedError(415, "send application/json or multipart/form-data")
    try:
        # One more, so that one too many is counted and said.
        async with request.form(
            max_files=config.max_stickers + 1, max_fields=8, max_part_size=_MAX_FIELD
        ) as form:
            return await items_of_form(form, config)
    except (HTTPException, MultiPartException) as error:
        reason = getattr(error, "detail", None) or getattr(error, "message", "")
        status = 413 if "Too many" in str(reason) else 422
        raise RefusedError(status, f"the form cannot be read: {reason}") from None


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "page.html", media_type="text/html")

    @app.get("/colours.css", include_in_schema=False)
    async def colours() -> FileResponse:
        return FileResponse(TEMPLATES / "_colours.css.j2", media_type="text/css")

    @app.get("/{name}", include_in_schema=False)
    async def part(name: str) -> Response:
        if name not in _TYPES:
            return JSONResponse({"detail": "there is no such page"}, 404)
        return FileResponse(STATIC / name, media_type=_TYPES[name])


def serve(config: ServeConfig) -> None:
    """Serve until SIGTERM or Ctrl-C; running requests are ended first.

    Raises:
        ValueError: weights or model cannot be loaded; one sentence.
        OSError: the port is taken.
    """
    import socket

    import uvicorn

    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((config.host, config.port))
        except OSError as error:
            raise OSError(
                error.errno, f"cannot listen there ({error.strerror})", f"{config.host}:{config.port}"
            ) from None
        service = Service(config)

        class Server(uvicorn.Server):
            """As uvicorn's, but a signal that it has obeyed does not end the process once more."""

            @contextmanager
            def capture_signals(self) -> Iterator[None]:
                before = {one: signal.signal(one, self.handle_exit) for one in _ENDING}
                try:
                    yield
                finally:
                    for one, handler in before.items():
                        signal.signal(one, handler)

        server = Server(
            uvicorn.Config(
                create_app(config, service),
                log_level="error",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_STOP_SECONDS,
            )
        )
        asyncio.run(_serve(server, service, listener))


async def _serve(server: Any, service: Service, listener: Any) -> None:
    # Before uvicorn, whose lifespan would hide why the model cannot be loaded.
    await service.start()
    started = service.start
    service.start = _nothing  # type: ignore[method-assign]
    try:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        # From here on silence is no news.
        now_doing(None)
        print(f"serving on http://{shown}:{port} (page), /v1/predict, /healthz, /metrics", flush=True)
        await server.serve(sockets=[listener])
    finally:
        service.start = started  # type: ignore[method-assign]


async def _nothing() -> None:
    return None
