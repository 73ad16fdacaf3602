"""The emoji of the corpus (emoji.csv: labels, hold-out, folds, EmoTag figures, icons) and the art styles."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LABELS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
EMOTAG_EMOTIONS = ("anger", "disgust", "fear", "joy", "sadness", "surprise")
# An EmoTag score is "clear" when it reaches CLEAR_SCORE and leads the second by CLEAR_MARGIN; when no score
# reaches NEUTRAL_BELOW the emoji is neutral. In between (grimacing, unamused, ...) the label is set by hand.
CLEAR_SCORE, CLEAR_MARGIN, NEUTRAL_BELOW = 0.5, 0.1, 0.3


@dataclass(frozen=True)
class Style:
    """One set of emoji art; `package` is its npm package."""

    name: str
    title: str
    author: str
    license: str
    source: str

    @property
    def package(self) -> str:
        """Return the npm package that holds the drawings."""
        return f"@iconify-json/{self.name}"


STYLES = {
    style.name: style
    for style in (
        Style("noto", "Noto Emoji", "Google", "Apache-2.0", "github.com/googlefonts/noto-emoji"),
        Style("fluent-emoji", "Fluent Emoji", "Microsoft", "MIT", "github.com/microsoft/fluentui-emoji"),
        Style(
            "fluent-emoji-flat",
            "Fluent Emoji Flat",
            "Microsoft",
            "MIT",
            "github.com/microsoft/fluentui-emoji",
        ),
        Style(
            "streamline-emojis",
            "Streamline Emojis",
            "Streamline",
            "CC-BY-4.0",
            "github.com/webalys-hq/streamline-vectors",
        ),
        Style("twemoji", "Twemoji", "Twitter", "CC-BY-4.0", "github.com/jdecked/twemoji"),
        Style("openmoji", "OpenMoji", "OpenMoji", "CC-BY-SA-4.0", "github.com/hfg-gmuend/openmoji"),
        Style("noto-v1", "Noto Emoji (v1)", "Google", "Apache-2.0", "github.com/googlefonts/noto-emoji"),
        Style("emojione", "Emoji One (Colored)", "Emoji One", "CC-BY-4.0", "github.com/EmojiTwo/emojitwo"),
        Style(
            "emojione-v1",
            "Emoji One (v1)",
            "Emoji One",
            "CC-BY-SA-4.0",
            "github.com/joypixels/emojione-legacy",
        ),
        Style("fxemoji", "Firefox OS Emoji", "Mozilla", "Apache-2.0", "github.com/mozilla/fxemoji"),
    )
}
TEST_STYLES = ("twemoji",)
VALIDATION_STYLES = ("noto",)
CORPUS_STYLES = ("noto", "fluent-emoji", "fluent-emoji-flat", "streamline-emojis", "twemoji")
# Left out together: the fluent sets draw the same shapes with and without shading.
STYLE_GROUPS = {
    "noto": ("noto",),
    "fluent-emoji": ("fluent-emoji", "fluent-emoji-flat"),
    "streamline-emojis": ("streamline-emojis",),
    "twemoji": ("twemoji",),
}
FOLDS = 5
STAND_IN_STYLES = ("openmoji", "noto-v1", "emojione", "emojione-v1", "fxemoji")


@dataclass(frozen=True)
class Emoji:
    """One emoji of the table.

    Attributes:
        label_source: "emotag" or "hand".
        holdout: kept out of training and validation in every style.
        fold: 0 to FOLDS - 1, stratified by label; person, man and woman of one gesture share theirs.
        emotag: mean human scores, None for an emoji that EmoTag1200 lacks.
        icons: the styles that draw it, each to the icon's name in its package.
    """

    hexcode: str
    emoji: str
    name: str
    label: str
    label_source: str
    holdout: bool
    fold: int
    emotag: dict[str, float] | None
    icons: dict[str, str]


@cache
def load_table() -> tuple[Emoji, ...]:
    """Return every emoji of the corpus, in the order of their code points."""
    with (Path(__file__).parent / "emoji.csv").open(encoding="utf-8", newline="") as stream:
        return tuple(_emoji(row) for row in csv.DictReader(stream))


def emotag_label(scores: dict[str, float]) -> str | None:
    """Return the class that EmoTag1200's mean scores give, None where they are not clear."""
    ranked = sorted(((scores[name], name) for name in EMOTAG_EMOTIONS), reverse=True)
    (first, emotion), (second, _) = ranked[:2]
    # Scores have two decimals; rounding keeps .67 - .57 from missing the margin by a float's error.
    if first >= CLEAR_SCORE and round(first - second, 2) >= CLEAR_MARGIN:
        return "happiness" if emotion == "joy" else emotion
    return "neutral" if first < NEUTRAL_BELOW else None


def _emoji(row: dict[str, str]) -> Emoji:
    scores = {name: row[f"emotag_{name}"] for name in EMOTAG_EMOTIONS}
    return Emoji(
        hexcode=row["hexcode"],
        emoji=row["emoji"],
        name=row["name"],
        label=row["label"],
        label_source=row["label_source"],
        holdout=row["holdout"] == "1",
        fold=int(row["fold"]),
        emotag={name: float(score) for name, score in scores.items()} if all(scores.values()) else None,
        icons={style: row[style] for style in STYLES if row[style]},
    )
