"""An audit as files: a table, figures, and a page of the texts that fit their pictures worst."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from mghft.pipeline.files import check_folder, write_json, write_text
from mghft.pipeline.html import picture_url, write_page
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import decode_image
from mghft.pipeline.text import escape_markdown
from mghft.train.faithfulness.audit import Audit, ViewAudit

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
HEADER = (
    "view", "texts", "distinct", "rank of picture", "below chance",
    "own · others' · shuffled · others' shuffled", "rank of other run",
    "names its label", "names another", "contradicts",
)  # fmt: skip
NUMERIC = tuple(range(1, len(HEADER)))
_THUMBNAIL = 160


def view_row(one: ViewAudit) -> list[str]:
    """Return the cells of a view under `HEADER`."""
    return [
        one.view,
        str(one.texts),
        str(one.distinct),
        "–" if one.picture_rank is None else f"{one.picture_rank:.3f}",
        f"{one.worse_than_chance:.1%}",
        "–" if one.control is None else " · ".join(f"{value:.2f}" for value in one.control),
        "–" if one.agreement_rank is None else f"{one.agreement_rank:.3f}",
        f"{one.names_label:.1%}",
        f"{one.names_other:.1%}",
        f"{one.contradicts:.1%}",
    ]


def write_audit(out: Path, found: Audit, root: Path, *, count: int) -> None:
    """Write audit.json, audit.md and index.html, each as a whole.

    Args:
        out: folder, made where it is missing.
        found: the audit.
        root: of the corpus.
        count: texts to show.

    Raises:
        ValueError: `out` is a file.
        OSError: a file cannot be written.
    """
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    plain = {key: value for key, value in asdict(found).items() if key != "rows"}
    write_json(out / "audit.json", {**plain, "worst": plain["worst"][:count]})
    lines = [f"# Audit with {escape_markdown(found.encoder)} ({found.stickers} stickers)", ""]
    lines += [f"| {' | '.join(HEADER)} |", "|---|" + "---:|" * len(NUMERIC)]
    lines += [f"| {' | '.join(map(escape_markdown, view_row(one)))} |" for one in found.views]
    write_text(out / "audit.md", "\n".join([*lines, ""]))
    facts = {
        "found": found,
        "header": HEADER,
        "rows": [view_row(one) for one in found.views],
        "cards": [(one, _picture(root, one.path)) for one in found.worst[:count]],
    }
    write_page(out / "index.html", "audit.html.j2", facts, TEMPLATES)


def _picture(root: Path, path: str) -> str | None:
    try:
        image = decode_image(root, path)
    except ImageError:
        return None
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return picture_url(image)
