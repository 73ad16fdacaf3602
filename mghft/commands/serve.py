"""The command serve."""

import os
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from mghft import options

_WEIGHTS = options.Option(
    "weights",
    Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Run folder of 'mghft train', folder of weights, or hub id."),
    ],
    "weights",
)
_OWN: options.Group = (
    options.option("host", str, "host", "Address to listen on; default 127.0.0.1, this machine alone."),
    options.option("port", int, "port", "Port; default 8321, 0 takes a free one."),
    options.option("no_text", bool, None, "Start no multimodal model: views come with the pictures or not."),
    options.option("text_encoder", str, "text_encoder", "The text encoder's place, where it lies elsewhere."),
)
_LIMITS: options.Group = options.in_section(
    "Limits",
    (
        options.option("max_request_bytes", int, "max_request_bytes", "Of a request's body; default 16 MiB."),
        options.option("max_stickers", int, "max_stickers", "Of a request; default 32."),
        options.option("max_pixels", int, "max_pixels", "Of a picture; default 20 million."),
        options.option("max_queue", int, "max_queue", "Stickers that may wait, then 429; default 256."),
        options.option("max_batch", int, "max_batch", "Stickers that are classified together; default 32."),
        options.option(
            "batch_wait", float, "batch_wait", "Seconds that the first waits for company; default 0.005."
        ),
        options.option("timeout", float, "timeout", "Seconds until 504; default 60."),
        options.option(
            "key_env", str, "key_env", "Environment variable with the key; default MGHFT_API_KEY."
        ),
    ),
)
# `--key-env` of a server that describes has another meaning, and is set with the engine's defaults here.
_ENGINE: options.Group = tuple(one for one in options.ENGINE if one.name != "key_env")


@options.with_options(
    (_WEIGHTS,),
    _OWN,
    _LIMITS,
    options.reworded(
        options.MODEL,
        model="Model that describes pictures that come without views: tiny-llava, a folder, a hub id, or its "
        "name on a server; default: the one that described what the weights were trained on.",
    ),
    options.PROMPT,
    _ENGINE,
    options.VLLM,
)
def serve(fields: Mapping[str, Any], no_text: bool | None) -> None:
    """Serve trained weights over HTTP, with a page to try them in a browser.

    POST /v1/predict takes files (multipart) or base64 (JSON), with views or without; addresses are never
    fetched. GET /v1/model, /healthz, /metrics (Prometheus), /openapi.json. The page is at /. Only this
    machine can reach it unless --host says otherwise; with a key in MGHFT_API_KEY every client needs it.

    \b
    Examples:
      mghft serve demo/runs/text --model tiny-llava
      curl -F files=@sticker.png http://127.0.0.1:8321/v1/predict
      MGHFT_API_KEY=$(cat key) mghft serve runs/mghft --host 0.0.0.0 --port 80 --no-text
    """
    from mghft.inference.app.settings import ServeConfig
    from mghft.inference.weights import engine_fields, find_weights
    from mghft.pipeline.settings import build, merge

    nested = merge(fields)
    if "weights" not in nested:
        raise ValueError("which weights? Give a run folder of 'mghft train', a folder, or a hub id")
    found = find_weights(nested["weights"])
    nested = engine_fields(found, nested, use_text=not no_text, required=False)
    config = build(ServeConfig, nested, what="the service")
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    if config.engine is not None:
        typer.echo(f"describing with {config.engine.model}, prompt {config.prompt}", err=True)
    if not config.is_loopback and not os.environ.get(config.key_env):
        typer.echo(
            f"warning: everybody who reaches {config.host}:{config.port} can use this service: set a key in "
            f"{config.key_env}",
            err=True,
        )
    from mghft.pipeline.waiting import now_doing

    now_doing("loading the model")
    try:
        from mghft.inference.app.server import serve as run
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the service needs {error.name}, which is not installed: pip install 'mghft[serve]'"
        ) from None
    run(config)
