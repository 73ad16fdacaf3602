"""The texts that the tiny LLaVA learns: four views made of the emoji's published names, tags and groups.

Our class labels have no part in it: what the texts tell of an emotion are Unicode's and emojibase's words.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mghft.pipeline.corpora.emoji.packages import packages, read_json
from mghft.pipeline.corpora.emoji.table import Emoji

# Each art style of the training in words that also fit stickers of another hand.
STYLE_TEXTS = {
    "openmoji": "Simple cartoon with bold black outlines and flat colours.",
    "noto-v1": "Soft rounded cartoon with gentle shading and no outlines.",
    "emojione": "Flat clean cartoon with bright plain colours.",
    "emojione-v1": "Classic cartoon with warm muted colours and big eyes.",
    "fxemoji": "Playful minimal cartoon with few shapes and light colours.",
}
SUBGROUP_TEXTS = {
    "face-smiling": "Smiling face",
    "face-affection": "Affectionate face",
    "face-tongue": "Face with the tongue out",
    "face-hand": "Face with a hand gesture",
    "face-neutral-skeptical": "Reserved or skeptical face",
    "face-sleepy": "Sleepy face",
    "face-unwell": "Unwell face",
    "face-hat": "Face with a hat",
    "face-glasses": "Face with glasses",
    "face-concerned": "Concerned face",
    "face-negative": "Negative face",
    "face-costume": "Costume or creature face",
    "cat-face": "Cat face",
    "monkey-face": "Monkey face",
    "heart": "Heart shape",
    "emotion": "Comic symbol",
    "person-gesture": "Person making a gesture",
    "person-activity": "Person in motion",
    "sky-weather": "Face in the sky",
    "body-parts": "Part of a body",
    "hands": "Two hands",
    "hand-fingers-open": "Open hand",
    "hand-fingers-closed": "Closed hand",
    "hand-fingers-partial": "Hand with some fingers raised",
    "hand-single-finger": "Hand with one finger raised",
}
# Tags that name parts of the drawing: they belong to the details, not to the intention.
_PART_WORDS = (
    "face eye eyes mouth hand hands teeth tear tears sweat tongue glasses hat heart hearts finger fingers "
    "thumb eyebrow nose mask halo horns smile smiling grin frown frowning person man woman cat monkey "
    "gesture symbol comic wink open closed big squinting bandage thermometer sunglasses star stars fist "
    "bubble balloon cloud"
)
PART_TAGS = frozenset(_PART_WORDS.split())
# Tags that say nothing about why somebody sends the sticker: chat abbreviations, fillers, whole families.
_EMPTY_WORDS = (
    "ily xoxo ttyl omg smh wtv you not way out bae feels emotion animal fairy fairytale tale fantasy "
    "monster body this three five index"
)
EMPTY_TAGS = frozenset(_EMPTY_WORDS.split())
INTENTION_TAGS, DETAIL_TAGS = 4, 3


@dataclass(frozen=True)
class Entry:
    """The tags and the subgroup that emojibase gives an emoji."""

    tags: tuple[str, ...]
    subgroup: str


def load_entries(table: Sequence[Emoji], cache: Path | None = None) -> dict[str, Entry]:
    """Read tags (the most shared first) and subgroup of every emoji of the table, by hexcode."""
    package = packages()["emojibase-data"]
    subgroups: dict[str, str] = read_json(package, "meta/groups.json", cache)["subgroups"]
    data = {row["hexcode"]: row for row in read_json(package, "en/data.json", cache)}
    # Tags shared by many emoji ("sad", "love") carry feeling; the rare ones are mostly slang or objects.
    shared = Counter(tag for emoji in table for tag in data[emoji.hexcode]["tags"])
    return {
        emoji.hexcode: Entry(
            tuple(sorted(data[emoji.hexcode]["tags"], key=lambda tag: (-shared[tag], tag))),
            subgroups[str(data[emoji.hexcode]["subgroup"])],
        )
        for emoji in table
    }


def describe(emoji: Emoji, entry: Entry, style: str) -> dict[str, str]:
    """Return the four views of one sticker, in the order in which the model writes them."""
    words = [tag for tag in entry.tags if len(tag) > 2 and tag.isascii() and tag.replace("-", "").isalpha()]
    feelings = [tag for tag in words if tag not in PART_TAGS | EMPTY_TAGS][:INTENTION_TAGS] or [emoji.name]
    kind = SUBGROUP_TEXTS.get(entry.subgroup, entry.subgroup.replace("-", " ").capitalize())
    parts = [tag for tag in words if tag in PART_TAGS and tag not in kind.lower()][:DETAIL_TAGS]
    return {
        "content": f"{emoji.name[0].upper()}{emoji.name[1:]}.",
        "style": STYLE_TEXTS[style],
        "intention": f"To express {', '.join(feelings)}.",
        "details": f"{kind}: {', '.join(parts)}." if parts else f"{kind}.",
    }


def as_response(views: dict[str, str]) -> str:
    """Return the views as the JSON text that the model is to write.

    Compact separators: the engine's structured output forbids whitespace between tokens, and a small model
    that learned another form falls back on one text for every image.
    """
    return json.dumps(views, ensure_ascii=False, separators=(",", ":"))
