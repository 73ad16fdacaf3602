"""What a client sends: files of a form, or JSON with base64; both become the model's items."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import FormData, UploadFile

from mghft.inference.app.settings import ServeConfig
from mghft.inference.app.worker import Item
from mghft.inference.predictor import check_views
from mghft.pipeline.settings import first_fault

_MAX_TEXT = 20_000
_MAX_NAME = 500
Text = Annotated[str, Field(max_length=_MAX_TEXT)]


class StickerIn(BaseModel):
    """One sticker of a JSON request.

    Attributes:
        image: bytes of its file in base64, with or without "data:image/png;base64," before them.
        name: comes back with the prediction.
        views: text by view; null or "" takes a view away. Without it the service describes the picture, if it
            was started with a model that does.
        text: printed on the sticker.
    """

    model_config = ConfigDict(extra="forbid")

    image: str
    name: Annotated[str, Field(max_length=_MAX_NAME)] = ""
    views: dict[str, Text | None] | None = None
    text: Text | None = None


class PredictIn(BaseModel):
    """A JSON request."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "stickers": [
                    {
                        "name": "dot.png",
                        "image": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgAB"
                        "SK+kcQAAAABJRU5ErkJggg==",
                        "views": {"content": "A dot.", "style": None},
                    }
                ]
            }
        },
    )

    stickers: list[StickerIn] = Field(min_length=1)
    overlay: bool = False


class PredictionOut(BaseModel):
    """What is said of one sticker: a prediction, or an error of its own."""

    name: str
    label: str | None
    confidence: float | None
    probabilities: dict[str, float]
    views: dict[str, str]
    missing_views: list[str]
    seconds: float
    error: str | None
    describing_error: str | None
    overlay: str | None = Field(default=None, description="a PNG in base64, where it was asked for")


class PredictOut(BaseModel):
    """The answer, in the order of the request."""

    predictions: list[PredictionOut]


class RefusedError(ValueError):
    """A request that is answered with a status and one sentence."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.headers = status, headers or {}


def items_of_json(body: bytes, config: ServeConfig) -> list[Item]:
    """Read a JSON request; raises RefusedError with 422 and what is wrong with it."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(422, "the body is no JSON") from None
    try:
        request = PredictIn.model_validate(content)
    except ValidationError as error:
        raise RefusedError(422, first_fault(error, "the request", PredictIn)) from None
    _check_count(len(request.stickers), config)
    return [
        Item(
            sticker.name or f"sticker {place + 1}",
            _bytes_of(sticker.image, place),
            _checked(sticker.views),
            sticker.text,
            request.overlay,
        )
        for place, sticker in enumerate(request.stickers)
    ]


async def items_of_form(form: FormData, config: ServeConfig) -> list[Item]:
    """Read a form: `files`, and where wanted `views` and `texts` as JSON lists beside them, `overlay`.

    Raises:
        RefusedError: with 422 and what is wrong with it.
    """
    files = [value for name, value in form.multi_items() if name == "files"]
    if not files or not all(isinstance(file, UploadFile) for file in files):
        raise RefusedError(422, "the form has no files: send them in the field 'files'")
    unknown = {name for name, _ in form.multi_items()} - {"files", "views", "texts", "overlay"}
    if unknown:
        raise RefusedError(422, f"the form has no field {sorted(unknown)[0]!r}")
    _check_count(len(files), config)
    views = _list_of(form.get("views"), "views", len(files))
    texts = _list_of(form.get("texts"), "texts", len(files))
    overlay = str(form.get("overlay", "")).lower() in ("1", "true", "on", "yes")
    items = []
    for place, file in enumerate(files):
        assert isinstance(file, UploadFile)
        if not isinstance(texts[place], str | None):
            raise RefusedError(422, f"the field 'texts' has no text at place {place}")
        items.append(
            Item(
                (file.filename or f"sticker {place + 1}")[:_MAX_NAME],
                await file.read(),
                _checked(views[place]),
                texts[place],
                overlay,
            )
        )
    return items


def _check_count(count: int, config: ServeConfig) -> None:
    if count > config.max_stickers:
        raise RefusedError(
            413, f"the request has {count} stickers, the limit is {config.max_stickers}: send several"
        )


def _list_of(value: Any, name: str, count: int) -> list[Any]:
    if value is None:
        return [None] * count
    try:
        found = json.loads(value)
    except (ValueError, TypeError, RecursionError):
        raise RefusedError(422, f"the field '{name}' is no JSON") from None
    if not isinstance(found, list) or len(found) != count:
        raise RefusedError(422, f"the field '{name}' must be a list with one entry per file ({count})")
    return found


def _checked(views: Any) -> dict[str, str | None] | None:
    if views is None:
        return None
    if not isinstance(views, dict) or not all(
        text is None or (isinstance(text, str) and len(text) <= _MAX_TEXT) for text in views.values()
    ):
        raise RefusedError(422, f"views are texts of at most {_MAX_TEXT} characters, or null, by their names")
    try:
        check_views(views)
    except ValueError as error:
        raise RefusedError(422, str(error)) from None
    return views


def _bytes_of(image: str, place: int) -> bytes:
    if image.lower().startswith(("http:", "https:", "ftp:", "file:")):
        raise RefusedError(
            422, f"sticker {place + 1} is an address, and addresses are never fetched: send bytes"
        )
    data = image.partition(",")[2] if image.startswith("data:") else image
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        raise RefusedError(422, f"the image of sticker {place + 1} is no base64") from None
