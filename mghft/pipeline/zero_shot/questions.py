"""What a zero-shot run asks about a sticker, and the answers in its row.

A sticker is asked once for a choice, once with the official prompt, and once for the letters in each of the
K cyclic orders of the options; all of it again with the words on it where it has some. The answers are JSON
in the row's column `raw`; the views stay empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.engines.base import Request, RequestKey, Response
from mghft.pipeline.images.load import Loaded
from mghft.pipeline.prompting.pack import Sampling
from mghft.pipeline.runs.rows import Row
from mghft.pipeline.text import valid_utf8
from mghft.pipeline.zero_shot.config import TextGiven
from mghft.pipeline.zero_shot.wording import (
    LETTERS,
    choice_prompt,
    letters_prompt,
    official_prompt,
    rotation,
)

if TYPE_CHECKING:
    from PIL import Image

WITH, WITHOUT = "with_text", "without_text"
CHOICE, OFFICIAL, LETTER = "choice", "official", "letters"
# Below it a probability is 0 in every number format; an infinite one would have no mean.
_LOWEST = -1000.0


class Answers(NamedTuple):
    """The answers about a sticker, with its words or without.

    Attributes:
        choice, official: replies; None where the engine gave none (an error, a refusal of the server).
        letters: [K, K] log-probabilities; row r, where the options began with label r. None where the engine
            gave none.
        unseen: how many of the K·K were not told and have the smallest value told.
        tokens: read and written, by kind of question.
    """

    choice: str | None
    official: str | None
    letters: list[list[float]] | None
    unseen: int
    tokens: dict[str, list[int]]


@dataclass(frozen=True)
class ZeroShotQuestions:
    """The questions of a zero-shot run.

    Attributes:
        labels: the options.
        text: whether the words on the sticker are given.
        max_tokens: limit of a free reply and of a choice.
    """

    labels: tuple[str, ...]
    text: TextGiven
    max_tokens: int

    def make(self, sticker: Sticker, loaded: Loaded, attempt: int) -> list[Request]:
        """Return the requests about a sticker, the same in every attempt: all of them are greedy."""
        assert loaded.image is not None and loaded.sha256 is not None
        return [
            request
            for condition in asked_conditions(sticker.text, self.text)
            for request in self._requests(sticker, loaded.image, loaded.sha256, condition)
        ]

    def _requests(
        self, sticker: Sticker, image: Image.Image, image_id: str, condition: str
    ) -> Iterator[Request]:
        text = sticker.text if condition == WITH else None
        key = partial(RequestKey, sticker.id)
        words = Sampling(max_tokens=self.max_tokens)
        first = Request(key(f"{condition}/{CHOICE}"), image, image_id, None, "", None, words)
        yield replace(first, user=choice_prompt(self.labels, text), choice=self.labels)
        yield replace(first, key=key(f"{condition}/{OFFICIAL}"), user=official_prompt(self.labels, text))
        for shift in range(len(self.labels)):
            yield replace(
                first,
                key=key(f"{condition}/{LETTER}/{shift}"),
                user=letters_prompt(rotation(self.labels, shift), text),
                sampling=Sampling(max_tokens=1),
                score=tuple(LETTERS[: len(self.labels)]),
            )

    def parse(self, row: Row, responses: Mapping[RequestKey, Response]) -> None:
        """Write the answers into the row; it failed where the engine refused a single one of the requests."""
        by_name = {key.view or "": response for key, response in responses.items()}
        conditions = [name for name in (WITH, WITHOUT) if f"{name}/{CHOICE}" in by_name]
        found = {name: self._answers(name, by_name)._asdict() for name in conditions}
        row["raw"] = json.dumps(found, ensure_ascii=False)
        row["prompt_tokens"] = sum(response.prompt_tokens for response in responses.values())
        row["output_tokens"] += sum(response.output_tokens for response in responses.values())
        # In the order of the questions, whatever was finished first.
        errors = [one.error for name in sorted(by_name) if (one := by_name[name]).error is not None]
        row["status"] = "failed" if errors else "ok"
        row["error"] = valid_utf8(errors[0]) if errors else None
        row["finish_reason"] = "error" if errors else "stop"

    def _answers(self, condition: str, responses: Mapping[str, Response]) -> Answers:
        letters = [responses[f"{condition}/{LETTER}/{shift}"] for shift in range(len(self.labels))]
        choice, official = (responses[f"{condition}/{kind}"] for kind in (CHOICE, OFFICIAL))
        return Answers(
            _reply(choice),
            _reply(official),
            _table(letters, len(self.labels)),
            sum(response.unseen for response in letters),
            {CHOICE: _tokens([choice]), OFFICIAL: _tokens([official]), LETTER: _tokens(letters)},
        )


def asked_conditions(text: str | None, given: TextGiven) -> tuple[str, ...]:
    """Return how a sticker is asked about: one without words cannot be asked about with them."""
    if not text or given == "without":
        return (WITHOUT,)
    return (WITH,) if given == "with" else (WITH, WITHOUT)


def read_answers(raw: str | None) -> dict[str, Answers]:
    """Return the answers in a row by condition; none where nothing was asked (a file that is no image)."""
    found: dict[str, dict[str, Any]] = json.loads(raw) if raw else {}
    return {condition: Answers(**fields) for condition, fields in found.items()}


def _reply(response: Response) -> str | None:
    return None if response.error is not None else valid_utf8(response.text)


def _table(responses: Sequence[Response], count: int) -> list[list[float]] | None:
    rows = []
    for response in responses:
        if response.error is not None or response.logprobs is None:
            return None
        values = [response.logprobs[letter] for letter in LETTERS[:count]]
        rows.append([round(max(value, _LOWEST), 6) for value in values])
    return rows


def _tokens(responses: Sequence[Response]) -> list[int]:
    return [sum(one.prompt_tokens for one in responses), sum(one.output_tokens for one in responses)]
