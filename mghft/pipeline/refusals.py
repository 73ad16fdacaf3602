"""Telling a model's refusal from a description: "I'm sorry, I can't assist with that request."

A model that declines says so first of all, in the first person, and about its own task. A sticker's "sorry, I
can't come" is no such thing, nor are words that a description quotes. No list is complete: what slips through
shows as a text that many stickers share (`mghft status`).
"""

from __future__ import annotations

import re

# Only the beginning is looked at.
_LOOKED_AT = 600

# What may stand before: an apology, an excuse.
_BEFORE = (
    r"(?:(?:i['’]?m|i am|we['’]re|we are) (?:\w+ )?(?:sorry|afraid)|sorry|(?:my|our) apologies|i apologi[sz]e"
    r"|unfortunately|regrettably|thank(?:s| you)|as an? [\w ]*\b(?:ai|assistant|model)\b|due to"
    r"|for \w+ reasons)[^.;:!?]{0,80}?[\s,.;:!—–-]+"
)
_UNABLE = (
    r"(?:i|we)(?:['’]?m| am|['’]re| are|['’]ve| have)? ?(?:\w+ly )?(?:can(?:['’]?t|not| not)|won['’]t"
    r"|will not|could(?:n['’]t| not)|do(?:n['’]t| not) (?:feel comfortable|have the ability to)"
    r"|(?:not |un)(?:able|allowed|permitted|comfortable|willing)|(?:must|have to|need to) decline"
    r"|decline to|refuse to)\b(?: (?:to|in good conscience|\w+ly))*"
)
# The task itself: a verb of describing, and a word for what was asked.
_TASK = (
    r"(?: comply\b| continue with\b| (?:help|assist)(?:ing)?(?: you)? with\b"
    r"| provid(?:e|ing) (?:\w+ )?(?:assistance|help|descriptions?)\b"
    r"| (?:describ|provid|process|fulfil|identif|analy[sz]|interpret|discuss|engag|continu|generat|creat"
    r"|respond|answer|view|see|access|open|recogni[sz]|determin|complet|support|offer|comment|caption|display"
    r"|interact)\w*\b[^.!?]{0,60}\b(?:requests?|images?|pictures?|photos?|stickers?|memes?|content|questions?|tasks?"
    r"|files?|attachments?|individuals?|people|persons?|descriptions?|topics?|material)\b)"
)
_ENGLISH = rf"(?:{_BEFORE})?(?:(?:but|however|that|and)[\s,]+)*{_UNABLE}{_TASK}"
# What a service says in the model's place, and a model that got no picture.
_SERVICE = (
    r"(?:the|this|your) (?:request|content|image|prompt|input|message) (?:was|is|were|has been|got) (?:\w+ )?"
    r"(?:rejected|flagged|blocked|filtered)\b"
)
_NO_PICTURE = (
    r"(?:it (?:seems|looks|appears)[^.]{0,20})?(?:there is )?no (?:image|picture|photo|sticker) "
    r"(?:was |has been |is )?(?:provided|attached|uploaded|given|visible|included)"
    r"|please (?:upload|provide|share|attach) (?:the|an?|your) (?:image|picture|photo|sticker)"
    r"|i (?:don['’]?t|do not) see (?:any|an|the|your) (?:image|picture|photo|sticker)"
)
_CHINESE = (
    r"(?:(?:非常|很|十分|真的)?(?:抱歉|对不起|遗憾)|不好意思|作为[^,，。]{0,10}(?:ai|人工智能|模型|助手)[^,，。]{0,12})"
    r"[^。]{0,40}?(?:无法|不能|没法|不便|不会)[^。]{0,12}"
    r"(?:协助|帮助|提供|描述|回答|处理|满足|完成|继续|识别|分析|查看|讨论|回应|生成|看到)"
    r"|(?:我|这个问题我?|该问题我?)(?:暂时|目前)?(?:无法|不能)(?:描述|回答|提供|处理|识别|协助|查看|分析)"
    r"(?:该|这|此|您|你|图|请求|问题|$|。)"
    r"|[^。]{0,30}(?:让我们换个话题|换个话题(?:再聊|试试)|内容(?:违规|不合规))"
)
_JAPANESE = r"(?:大変)?申し訳(?:ありません|ございません|ない)[^。]{0,60}(?:できません|できかね|いたしかね)"
_KOREAN = r"(?:대단히 )?죄송(?:하지만|합니다)[^.]{0,60}(?:없습니다|어렵습니다)"
_SPANISH = (
    r"(?:lo siento|disculpa|lamento)[^.]{0,40}no puedo "
    r"(?:ayud|asist|proporcion|describ|respond|continu|cumpl|proces|complet)"
)
_FRENCH = (
    r"(?:(?:je suis )?(?:vraiment )?désolée?|malheureusement)[^.]{0,40}je ne (?:peux|suis)[^.]{0,20}"
    r"(?:aider|assister|décrire|fournir|répondre|traiter)"
)
_GERMAN = (
    r"(?:(?:es )?tut mir leid|leider|entschuldigung)[^.]{0,40}ich[^.]{0,60}(?:nicht|keine)[^.]{0,30}"
    r"(?:helfen|weiterhelfen|beschreiben|unterstützen|beantworten|bereitstellen|verarbeiten)"
)
_PORTUGUESE = (
    r"(?:desculp[ea]|sinto muito|lamento)[^.]{0,40}não posso (?:ajud|fornec|descrev|respond|atend|process)"
)
_ITALIAN = r"(?:mi dispiace|spiacente)[^.]{0,40}non posso (?:aiut|forni|descriv|rispond|assist)"
_RUSSIAN = (
    r"(?:извините|простите|к сожалению|сожалею)[^.]{0,40}не могу "
    r"(?:помочь|описать|ответить|предоставить|выполнить)"
)
_REFUSAL = re.compile(
    "|".join(
        (
            *(_ENGLISH, _SERVICE, _NO_PICTURE, _CHINESE, _JAPANESE, _KOREAN, _SPANISH, _FRENCH, _GERMAN),
            *(_PORTUGUESE, _ITALIAN, _RUSSIAN),
        )
    ),
    re.I,
)


def is_refusal(text: str) -> bool:
    """Return whether a text is a model's refusal to describe, in the languages of common models."""
    words = " ".join(text[:_LOOKED_AT].split()).lstrip("*#_> ").removeprefix("Assistant: ")
    return _REFUSAL.match(words) is not None
