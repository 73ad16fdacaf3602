"""The texts that the tiny LLaVA learns: four views made of the emoji's published names, tags and groups.

Our class labels have no part in it: what the texts tell of an emotion are Unicode's and emojibase's words.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mghft.pipeline.corpora.emoji.art import Known
from mghft.pipeline.corpora.emoji.packages import packages, read_json

LANGUAGES = ("en", "zh")
# Each art style of the training in words that also fit stickers of another hand.
STYLE_TEXTS = {
    "en": {
        "openmoji": "Simple cartoon with bold black outlines and flat colours.",
        "noto-v1": "Soft rounded cartoon with gentle shading and no outlines.",
        "emojione": "Flat clean cartoon with bright plain colours.",
        "emojione-v1": "Classic cartoon with warm muted colours and big eyes.",
        "fxemoji": "Playful minimal cartoon with few shapes and light colours.",
    },
    "zh": {
        "openmoji": "简单卡通，黑色粗线条，平涂色彩。",
        "noto-v1": "柔和圆润的卡通，淡淡阴影，没有轮廓线。",
        "emojione": "扁平干净的卡通，色彩明亮。",
        "emojione-v1": "经典卡通，温暖柔和的色彩，大眼睛。",
        "fxemoji": "活泼简约的卡通，形状少，颜色浅。",
    },
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
# Chinese kinds of what is drawn, by emojibase's group: its translated subgroups are too uneven to teach.
GROUP_TEXTS_ZH = {
    0: "表情或心形符号",
    1: "人物或手势",
    3: "动物或植物",
    4: "食物或饮料",
    5: "地点或交通工具",
    6: "活动",
    7: "物品",
    8: "符号",
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
PART_SIGNS_ZH = frozenset("脸眼嘴手齿泪汗舌帽指眉鼻罩拳人男女猫猴心")
INTENTION_TAGS, DETAIL_TAGS = 4, 3


@dataclass(frozen=True)
class Entry:
    """What emojibase says of an emoji in one language.

    Attributes:
        tags: those that are words, the most shared first: "sad" and "love" carry feeling, the rare ones are
            mostly slang or objects.
        kind: what sort of thing is drawn, in words.
    """

    name: str
    tags: tuple[str, ...]
    kind: str


def load_entries(known: Sequence[Known], cache: Path | None = None) -> dict[str, dict[str, Entry]]:
    """Return the entries of these emoji in every language, by hexcode and language.

    An emoji without a Chinese name keeps its English one.
    """
    package = packages()["emojibase-data"]
    english = {row["hexcode"]: row for row in read_json(package, "en/data.json", cache)}
    chinese = {row["hexcode"]: row for row in read_json(package, "zh/data.json", cache)}
    subgroups: dict[str, str] = read_json(package, "meta/groups.json", cache)["subgroups"]
    codes = [emoji.hexcode for emoji in known]
    tags = {"en": _tags(english, codes, _is_english_word), "zh": _tags(chinese, codes, _is_chinese_word)}
    entries = {}
    for emoji in known:
        code, row = emoji.hexcode, english[emoji.hexcode]
        subgroup = subgroups[str(row["subgroup"])]
        kind = SUBGROUP_TEXTS.get(subgroup, subgroup.replace("-", " ").capitalize())
        in_chinese = chinese.get(code, row)["label"].replace(" ", "")
        entries[code] = {
            "en": Entry(emoji.label, tags["en"][code], kind),
            "zh": Entry(in_chinese, tags["zh"][code], GROUP_TEXTS_ZH[emoji.group]),
        }
    return entries


def describe(entry: Entry, style: str, language: str = "en") -> dict[str, str]:
    """Return the four views of one sticker, in the order in which the model writes them."""
    if language == "zh":
        return _describe_in_chinese(entry, style)
    feelings = [tag for tag in entry.tags if tag not in PART_TAGS | EMPTY_TAGS][:INTENTION_TAGS]
    parts = [tag for tag in entry.tags if tag in PART_TAGS and tag not in entry.kind.lower()][:DETAIL_TAGS]
    return {
        "content": f"{entry.name[0].upper()}{entry.name[1:]}.",
        "style": STYLE_TEXTS["en"][style],
        "intention": f"To express {', '.join(feelings or [entry.name])}.",
        "details": f"{entry.kind}: {', '.join(parts)}." if parts else f"{entry.kind}.",
    }


def as_response(views: Mapping[str, str]) -> str:
    """Return the views as the JSON text that the model is to write.

    Compact separators: the engine's structured output forbids whitespace between tokens, and a small model
    that learned another form falls back on one text for every image.
    """
    return json.dumps(views, ensure_ascii=False, separators=(",", ":"))


def _describe_in_chinese(entry: Entry, style: str) -> dict[str, str]:
    feelings = [tag for tag in entry.tags if not PART_SIGNS_ZH & set(tag)][:INTENTION_TAGS]
    parts = [tag for tag in entry.tags if PART_SIGNS_ZH & set(tag)][:DETAIL_TAGS]
    return {
        "content": f"{entry.name}。",
        "style": STYLE_TEXTS["zh"][style],
        "intention": f"表达{'、'.join(feelings or [entry.name])}。",
        "details": f"{entry.kind}：{'、'.join(parts)}。" if parts else f"{entry.kind}。",
    }


def _tags(
    rows: Mapping[str, Any], codes: Sequence[str], is_word: Callable[[str], bool]
) -> dict[str, tuple[str, ...]]:
    own = {code: [tag for tag in rows.get(code, {}).get("tags", ()) if is_word(tag)] for code in codes}
    shared = Counter(tag for tags in own.values() for tag in tags)
    return {code: tuple(sorted(tags, key=lambda tag: (-shared[tag], tag))) for code, tags in own.items()}


def _is_english_word(tag: str) -> bool:
    return len(tag) > 2 and tag.isascii() and tag.replace("-", "").isalpha()


def _is_chinese_word(tag: str) -> bool:
    return all("\u4e00" <= sign <= "\u9fff" for sign in tag)
