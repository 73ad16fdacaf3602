"""Zero-shot classification: the label whose sentences lie nearest to the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mghft.model.encoders import ImageTextEncoder

# Words for the labels of SER30K, FI, EmotionROI and MET-Meme: adjectives say how somebody looks, nouns do
# not.
WORDS: dict[str, tuple[str, ...]] = {
    "amusement": ("amused", "entertained"),
    "anger": ("angry", "furious"),
    "awe": ("awestruck", "amazed"),
    "contentment": ("content", "peaceful"),
    "disgust": ("disgusted", "grossed out"),
    "excitement": ("excited", "thrilled"),
    "fear": ("afraid", "scared"),
    "happiness": ("happy", "smiling"),
    "hate": ("hateful", "hostile"),
    "joy": ("joyful", "happy"),
    "love": ("loving", "in love"),
    "neutral": ("neutral", "expressionless"),
    "sadness": ("sad", "crying"),
    "sorrow": ("sorrowful", "sad"),
    "surprise": ("surprised", "shocked"),
}
# Sentences of our own about drawings and memes; every word of a label in every sentence, averaged.
TEMPLATES = (
    "a sticker of someone feeling {}.",
    "a sticker that looks {}.",
    "a cartoon character that is {}.",
    "a drawing of a {} face.",
    "an emoji that means {}.",
    "a meme for when you are {}.",
)
# What transformers' zero-shot pipeline takes unasked: the lower bound.
SINGLE = ("This is a photo of {}.",)


def label_words(label: str) -> tuple[str, ...]:
    """Return the words that stand for a label in sentences; its own name where the table has none."""
    return WORDS.get(label.casefold(), (label,))


def label_vectors(
    encoder: ImageTextEncoder, labels: Sequence[str], templates: Sequence[str], *, words: bool
) -> Tensor:
    """Return one normalised vector per label, [K, P]: the mean over its sentences, each normalised.

    Args:
        encoder: with texts.
        labels: names.
        templates: sentences with {}.
        words: every word of `label_words`, or the label's name alone. Sentences are in small letters.
    """
    vectors = []
    for label in labels:
        names = label_words(label) if words else (label,)
        sentences = [template.format(name).lower() for template in templates for name in names]
        vectors.append(F.normalize(encoder.texts(sentences).mean(dim=0), dim=0))
    return torch.stack(vectors)


def zero_shot(encoder: ImageTextEncoder, projected: Tensor, labels: Tensor) -> Tensor:
    """Return probabilities [n, K] of images by the vectors of the labels.

    Softmax over the logits at the trained scale. SigLIP's sigmoids are one label's each; divided by their sum
    they are what the other encoders give, and the largest stays the largest.

    Args:
        encoder: whose scale and bias are used.
        projected: [n, Q, P] of the images.
        labels: [K, P] of `label_vectors`.
    """
    logits = encoder.logits(projected, labels).double()
    if encoder.sigmoid:
        # In logarithms: with a bias of -16 all sigmoids may be too small for a sum.
        logits = F.logsigmoid(logits)
    probabilities: Tensor = logits.softmax(dim=1)
    return probabilities
