"""Words that give a label away, phrases that decline to describe, scripts of languages: lists, no model.

The lists and their limits are described in docs/prompt_scores.md.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3007\U00020000-\U0003ffff"
_KANA = "\u3041-\u3096\u30a1-\u30fa"
# A Chinese character or a Japanese syllable counts as a word: neither script writes spaces.
_WORD = re.compile(rf"[{_HAN}{_KANA}]|[^\W_{_HAN}{_KANA}]+(?:'[^\W_{_HAN}{_KANA}]+)*")

# English endings that keep a word's sense; -less turns it round and is left out.
_ENDINGS = "s es d ed edly ing ingly ly er ers est ful fully ous ously en ens ened ening some"
# Forms that no ending makes.
_IRREGULAR = {
    "anger": ("angry", "angrily", "angrier", "angriest"),
    "hate": ("hatred",),
    "neutral": ("neutrality",),
}
# The usual Chinese words for the labels of SER30K and MET-Meme.
_CHINESE = {
    "anger": ("生气", "愤怒", "气愤", "恼怒"),
    "disgust": ("厌恶", "恶心", "反感"),
    "fear": ("害怕", "恐惧", "惊恐"),
    "happiness": ("快乐", "高兴", "开心", "幸福", "愉快"),
    "neutral": ("中性", "中立"),
    "sadness": ("悲伤", "难过", "伤心", "悲哀"),
    "surprise": ("惊讶", "吃惊", "惊奇"),
    "love": ("喜爱", "爱意", "爱情"),
    "sorrow": ("悲伤", "难过", "伤心", "悲哀"),
    "hate": ("仇恨", "憎恨", "讨厌"),
}

# What is denied is part of each phrase: "I'm sorry" and "I can't see" alone are what stickers say.
_VERBS = "help with|assist|describe|identify|view|provide|comply|process|analy[sz]e|fulfil+|access"
_CANNOT = "can't|cannot|can not|am unable to|'m unable to|am not able to|'m not able to|won't"
_PICTURE = "image|picture|sticker|photo"
REFUSALS = (
    rf"\bi ?(?:{_CANNOT}) (?:{_VERBS})\b",
    rf"\b(?:sorry|apologi[sz]e),? (?:but )?(?:{_CANNOT}) (?:{_VERBS})\b",
    r"\bas an ai\b",
    r"\bas a (?:large )?(?:vision[- ])?language model\b",
    rf"\bunable to (?:{_VERBS}) (?:the |this |your )?(?:{_PICTURE})\b",
    rf"\bno (?:{_PICTURE}) (?:was |is |has been )?(?:provided|attached|uploaded|visible)\b",
    rf"\bplease (?:provide|upload|attach|share) (?:the |an? |your )?(?:{_PICTURE})\b",
    r"我(?:无法|不能|没有办法)(?:查看|看到|识别|描述|分析|协助|提供|回答|帮助|处理)",
    r"(?:抱歉|对不起)[,,]?\s*(?:但)?我(?:无法|不能)",
    r"作为(?:一个|一名)?(?:ai|人工智能|(?:大型?)?语言模型)",
    r"无法(?:查看|看到|识别|访问|显示)(?:该|此|这张|这个|您的|你的)?(?:图片|图像|贴纸|表情)",
    r"(?:没有|未)(?:提供|上传|看到)(?:任何)?(?:图片|图像|贴纸)",
    r"请(?:提供|上传)(?:一张)?(?:图片|图像|贴纸)",
)
_REFUSAL = re.compile("|".join(REFUSALS))

_LATIN = "en de fr es it pt nl pl cs sk sv da no nb fi hu ro tr vi id ms ca hr sl et lv lt"
_SCRIPTS: dict[str, frozenset[str]] = {
    **{code: frozenset({"LATIN"}) for code in _LATIN.split()},
    **{code: frozenset({"CYRILLIC"}) for code in ("ru", "uk", "bg", "be")},
    **{code: frozenset({"ARABIC"}) for code in ("ar", "fa", "ur")},
    "zh": frozenset({"CJK"}),
    "ja": frozenset({"CJK", "HIRAGANA", "KATAKANA"}),
    "ko": frozenset({"HANGUL"}),
    "hi": frozenset({"DEVANAGARI"}),
    "th": frozenset({"THAI"}),
    "el": frozenset({"GREEK"}),
    "he": frozenset({"HEBREW"}),
}


def words(text: str) -> list[str]:
    """Return the words in small letters; every Chinese or Japanese character is one."""
    return _WORD.findall(text.casefold().replace("’", "'"))


@lru_cache(maxsize=256)
def label_forms(label: str) -> tuple[frozenset[str], ...]:
    """Return for each word of a label's name its forms: happiness, happy, happily …, and Chinese words."""
    return tuple(_forms(word) for word in re.findall(r"[^\W\d_]+", label.casefold()))


def _forms(word: str) -> frozenset[str]:
    """Forms by English endings; endings that begin with a vowel change the spelling before them."""
    bases = {word}
    if word.endswith("ness") and len(word) > 6:
        base = word[:-4]
        bases.add(base[:-1] + "y" if base.endswith("i") else base)
    changed = {base[:-1] for base in bases if base.endswith("e")}  # surprising; but not the hat in hate
    changed |= {base[:-1] + "i" for base in bases if base.endswith("y")}  # happier, happily
    changed |= {base + base[-1] for base in bases - {word}}  # sadder
    forms = bases | {base + ending for base in bases for ending in _ENDINGS.split()}
    forms |= {base + ending for base in changed for ending in _ENDINGS.split() if ending[0] in "aeiouly"}
    return frozenset(forms) | frozenset(_IRREGULAR.get(word, ())) | frozenset(_CHINESE.get(word, ()))


def labels_named(text: str, labels: Iterable[str]) -> set[str]:
    """Return the labels that a text names: every word of the name in some form."""
    folded, present = text.casefold(), set(words(text))

    def named(forms: frozenset[str]) -> bool:
        # Chinese has no spaces to find a word by: it counts wherever it stands.
        return not forms.isdisjoint(present) or any(form in folded for form in forms if not form.isascii())

    return {label for label in labels if (of_label := label_forms(label)) and all(map(named, of_label))}


def refuses(text: str) -> bool:
    """Tell whether a text declines to describe, in English or Chinese."""
    return _REFUSAL.search(text.casefold().replace("’", "'")) is not None


def scripts_of(language: str) -> frozenset[str] | None:
    """Return the scripts of a language, None where it is not in the list; "zh-Hans" is read as "zh"."""
    return _SCRIPTS.get(re.split(r"[-_]", language.casefold())[0])


def in_scripts(found: Sequence[str], scripts: frozenset[str]) -> bool | None:
    """Tell whether at least half of the words begin in one of the scripts; None where none has a letter."""
    kinds = [script for word in found if (script := _script(word[0])) is not None]
    if not kinds:
        return None
    return 2 * sum(kind in scripts for kind in kinds) >= len(kinds)


@lru_cache(maxsize=4096)
def _script(character: str) -> str | None:
    if not character.isalpha():
        return None
    return unicodedata.name(character, "UNKNOWN").split()[0]
