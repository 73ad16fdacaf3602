"""The words of the prompts, and how a word is found in a free reply.

The official prompt is the one printed in the supplement of TGCA-PVT (ACM MM 2024) for LLaVA-1.5-7B. Its
"USER:<image>\\n" and "ASSISTANT:" are left to the model's chat template.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from string import ascii_uppercase

LETTERS = ascii_uppercase
# The seven labels of SER30K in the order of the official prompt.
_OFFICIAL = ("disgust", "anger", "fear", "happiness", "neutral", "sadness", "surprise")
_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def rotation(labels: Sequence[str], shift: int) -> tuple[str, ...]:
    """Return the labels in the cyclic order that begins with the one at `shift`."""
    return (*labels[shift:], *labels[:shift])


def letters_prompt(options: Sequence[str], text: str | None) -> str:
    """Return the question with lettered options, to be answered by one letter."""
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    question = f"{_about(text)}Which emotion does it express?"
    return "\n".join([question, *lines, "Answer with the letter of one option only."])


def choice_prompt(labels: Sequence[str], text: str | None) -> str:
    """Return the question to be answered by one of the words."""
    options = _enumerate(labels, "or")
    return f"{_about(text)}Which emotion does it express: {options}? Answer with one of these only."


def official_prompt(labels: Sequence[str], text: str | None) -> str:
    """Return the official prompt; other labels than the seven take their place in its sentence."""
    names = _OFFICIAL if is_official(labels) else tuple(labels)
    count = len(names) - 2
    number = _NUMBERS[count] if count < len(_NUMBERS) else str(len(names))
    return (
        f'. The text of this image is: "{text or ""}". According to the image and the text, choose one '
        f"emotion category from the following several kinds of emotions: {_enumerate(names, 'and')}? "
        f"Only one of the {number} emotions above, no other answers.\n"
    )


def is_official(labels: Sequence[str]) -> bool:
    """Return whether the labels are the seven of the official prompt, in any order."""
    return {label.casefold() for label in labels} == set(_OFFICIAL)


def first_label(reply: str, labels: Sequence[str]) -> int | None:
    """Return the index of the label whose word comes first in a reply, None where there is none.

    Whole words count, in any case; where one label is the beginning of another, the longer one.
    """
    words = {" ".join(label.split()).casefold(): number for number, label in enumerate(labels)}
    ordered = sorted(words, key=len, reverse=True)
    pattern = "|".join(re.escape(word) for word in ordered)
    found = re.search(rf"(?<!\w)(?:{pattern})(?!\w)", " ".join(reply.split()).casefold())
    return None if found is None else words[found[0]]


def prompt_digest(labels: Sequence[str]) -> str:
    """Return the SHA-256 of all prompts for these labels, in every order, with a text and without."""
    prompts = [
        prompt
        for text in (None, "{text}")
        for prompt in (
            choice_prompt(labels, text),
            official_prompt(labels, text),
            *(letters_prompt(rotation(labels, shift), text) for shift in range(len(labels))),
        )
    ]
    return hashlib.sha256(json.dumps(prompts).encode()).hexdigest()


def _about(text: str | None) -> str:
    said = "" if text is None else f' The text on it is: "{" ".join(text.split())}".'
    return f"This is a sticker.{said} "


def _enumerate(words: Sequence[str], last: str) -> str:
    comma = "," if len(words) > 2 else ""
    return f"{', '.join(words[:-1])}{comma} {last} {words[-1]}"
