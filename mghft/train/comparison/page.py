"""A comparison as files: compare.json, compare.md, and one page that shows the stickers that differ."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.files import check_folder, write_json, write_text
from mghft.pipeline.html import picture_url, write_page
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import decode_image
from mghft.pipeline.views import VIEWS
from mghft.train.comparison.results import Comparison, Disagreement, Section
from mghft.train.comparison.text import HEADER, markdown, section_title, system_row, verdicts
from mghft.train.data.descriptions import read_texts
from mghft.train.evaluation.page_parts import ForestRow, forest_rows

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
_THUMBNAIL = 160


@dataclass(frozen=True)
class Shown:
    """Corpus, and run of descriptions where there is one, of the stickers that a page shows."""

    card: str
    data: Path
    descriptions: Path | None


@dataclass(frozen=True)
class DisagreementCard:
    """A sticker on the page.

    Attributes:
        image: its address, None where there is no corpus or the image cannot be read.
        views: name and text of each view that its description has.
    """

    found: Disagreement
    image: str | None
    views: list[tuple[str, str]]


def write_comparison(out: Path, comparison: Comparison, shown: Shown | None, *, count: int) -> None:
    """Write all files of a comparison, each as a whole.

    Args:
        out: folder, made where it is missing.
        comparison: what was found.
        shown: where the stickers are; None shows their ids alone.
        count: stickers to show.

    Raises:
        FileNotFoundError, ValueError: the corpus or the descriptions cannot be read; nothing is written.
        OSError: a file cannot be written.
    """
    check_folder(out)
    cards = _cards(comparison.disagreements, shown, count)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "compare.json", asdict(comparison))
    write_text(out / "compare.md", markdown(comparison))
    facts = {
        "result": comparison,
        "header": HEADER,
        "sections": [
            {
                "title": section_title(comparison, section),
                "rows": [system_row(one) for one in section.systems],
                "forest": forest(section),
                "verdicts": list(verdicts(section)),
            }
            for section in comparison.sections
        ],
        "cards": cards,
        "total": len(comparison.disagreements),
    }
    write_page(out / "index.html", "comparison.html.j2", facts, TEMPLATES)


def forest(section: Section) -> list[ForestRow]:
    """Return the accuracies of a section's systems, placed on an axis that holds all of them."""
    return forest_rows({one.name: (one.accuracy.mean, one.accuracy.interval) for one in section.systems})


def _cards(found: list[Disagreement], shown: Shown | None, count: int) -> list[DisagreementCard]:
    """Return the cards of as many stickers of either kind as there are places, the surest first."""
    kinds = list(dict.fromkeys(one.right for one in found))
    chosen = [
        one
        for kind in kinds
        for one in islice((other for other in found if other.right == kind), count // len(kinds))
    ]
    if shown is None:
        return [DisagreementCard(one, None, []) for one in chosen]
    corpus = load_corpus(load_card(shown.card), shown.data)
    stickers = {sticker.id: sticker for sticker in corpus.stickers}
    unknown = next((one.id for one in chosen if one.id not in stickers), None)
    if unknown is not None:
        raise ValueError(f"the corpus {shown.card} in {shown.data} has no sticker {unknown!r}: name another")
    texts: dict[str, tuple[str, ...] | None] = {}
    if shown.descriptions is not None:
        texts = dict(read_texts(shown.descriptions, VIEWS).by_id)
    return [
        DisagreementCard(one, _picture(corpus.root, stickers[one.id]), _views(texts.get(one.id)))
        for one in chosen
    ]


def _views(texts: tuple[str, ...] | None) -> list[tuple[str, str]]:
    if texts is None:
        return []
    return [(view, text) for view, text in zip(VIEWS, texts, strict=True) if text]


def _picture(root: Path, sticker: Sticker) -> str | None:
    try:
        image = decode_image(root, sticker.path)
    except ImageError:
        return None
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return picture_url(image)
