"""Notes on a sound prompt pack: things to look at, none of which stops a run."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.prompting.pack import PromptPack

# JSON, keys and longer words: a text of so many words rarely needs more tokens (Chinese: of characters).
_TOKENS_A_WORD = 2


def pack_notes(pack: PromptPack, labels: Sequence[str] = ()) -> list[str]:
    """Note views that the prompt never names, a token limit that may cut, and labels in its words.

    Args:
        pack: a pack that loads.
        labels: of the corpus; a prompt that names some of them offers the model an answer to the task.
    """
    notes = []
    bare = Sticker(id="example", path="example", split="train")
    messages = pack.messages(bare)
    for view, text in messages:
        for name in pack.asked if view is None else (view,):
            prompt = pack.views[name]
            assert prompt is not None
            if prompt.instruction not in text:
                notes.append(f"the prompt never says the instruction of the view {name}")
            if name not in text:
                notes.append(f"the prompt never names the key {name} that the answer must have")
    for view, _ in messages:
        prompts = [pack.views[name] for name in (pack.asked if view is None else (view,))]
        words = sum(prompt.words or 0 for prompt in prompts if prompt is not None)
        if words * _TOKENS_A_WORD > pack.sampling.max_tokens:
            notes.append(
                f"max_tokens {pack.sampling.max_tokens} may cut an answer of {words} words: "
                "a cut answer is a failed row"
            )
    said = " ".join([pack.system or "", *(text for _, text in messages)]).casefold()
    named = [label for label in labels if re.search(rf"(?<!\w){re.escape(label.casefold())}(?!\w)", said)]
    if named:
        notes.append(f"the prompt names labels of the corpus: {', '.join(named)}")
    return notes
