"""The prompts word for word, and how a label is found in a free reply."""

import pytest

from mghft.pipeline.zero_shot.wording import (
    choice_prompt,
    first_label,
    is_official,
    letters_prompt,
    official_prompt,
    prompt_digest,
    rotation,
)

SEVEN = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


def test_the_official_prompt_is_the_printed_one():
    """The supplement of TGCA-PVT, without its marks for image and assistant; in its order of labels."""
    assert official_prompt(SEVEN, "so Happy!\nyes") == (
        '. The text of this image is: "so Happy!\nyes". According to the image and the text, choose one '
        "emotion category from the following several kinds of emotions: disgust, anger, fear, happiness, "
        "neutral, sadness, and surprise? Only one of the seven emotions above, no other answers.\n"
    )
    assert '. The text of this image is: "". According' in official_prompt(SEVEN, None)


def test_other_labels_take_the_place_of_the_seven():
    assert is_official(("Fear", "anger", "disgust", "happiness", "neutral", "sadness", "surprise"))
    assert not is_official(SEVEN[:6])
    prompt = official_prompt(("joy", "love", "hate"), None)
    assert "emotions: joy, love, and hate? Only one of the three emotions above" in prompt
    many = tuple(f"label {number}" for number in range(20))
    assert "Only one of the 20 emotions" in official_prompt(many, None)
    assert "emotions: yes and no? Only one of the two" in official_prompt(("yes", "no"), None)


def test_lettered_options_in_their_order():
    assert letters_prompt(rotation(("joy", "love", "hate"), 1), "a\nb") == (
        'This is a sticker. The text on it is: "a b". Which emotion does it express?\n'
        "A. love\nB. hate\nC. joy\nAnswer with the letter of one option only."
    )


def test_choice():
    assert choice_prompt(("joy", "love", "hate"), None) == (
        "This is a sticker. Which emotion does it express: joy, love, or hate? Answer with one of these only."
    )


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("Happiness", "happiness"),
        ("  The emotion is SADNESS, not anger.", "sadness"),
        ("**fear**", "fear"),
        ("neutral/surprise", "neutral"),
        ("The answer: anger.", "anger"),
        ("angry", None),
        ("fearful", None),
        ("", None),
        ("I cannot tell.", None),
    ],
)
def test_the_first_label_word_is_the_answer(reply, label):
    assert first_label(reply, SEVEN) == (None if label is None else SEVEN.index(label))


def test_a_label_that_begins_with_another_is_read_whole():
    labels = ("joy", "joy of others", "C++")
    assert first_label("Joy  of\nothers!", labels) == 1
    assert first_label("joy of life", labels) == 0
    assert first_label("it is c++", labels) == 2


def test_the_digest_knows_labels_and_their_order():
    assert prompt_digest(SEVEN) == prompt_digest(SEVEN)
    assert len({prompt_digest(SEVEN), prompt_digest(SEVEN[::-1]), prompt_digest(SEVEN[:6])}) == 3
