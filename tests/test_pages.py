"""Every page of the tool on a desk and on a phone, light and dark: judged by axe-core, and by its layout."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from browser import needs_chromium, survey
from page_samples import PAGES
from PIL import Image

from mghft.pipeline.html import TEMPLATES

ROOT = Path(__file__).parents[1] / "mghft"
needs_axe = pytest.mark.skipif(
    find_spec("axe_playwright_python") is None, reason="no axe-core: install the extra dev"
)


WIDTHS = (390, 1280)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages that were written, by kind."""
    folder = tmp_path_factory.mktemp("pages")
    return {name: write(folder / name.replace(" ", "-")) for name, write in PAGES.items()}


@pytest.fixture(scope="module")
def seen(pages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """What a browser sees of a kind of page; it is started once for a width and mode."""

    @cache
    def survey_all(width: int, dark: bool) -> list[dict[str, Any]]:
        return survey([*pages.values()], tmp_path_factory.mktemp("browser"), width, dark=dark)

    return lambda kind, width, dark: survey_all(width, dark)[[*pages].index(kind)]


@needs_chromium
@needs_axe
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", PAGES)
def test_axe_finds_nothing_serious_or_critical(
    seen: Callable[..., dict[str, Any]], kind: str, width: int, dark: bool
) -> None:
    assert seen(kind, width, dark)["axe"] == []


@needs_chromium
@needs_axe
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", PAGES)
def test_page_fits_and_shows_its_pictures_as_they_are(
    seen: Callable[..., dict[str, Any]], kind: str, width: int, dark: bool
) -> None:
    found = seen(kind, width, dark)["layout"]
    assert found["width"] == found["visible"] == width
    assert found["without_alt"] == found["unreachable"] == 0
    assert found["distorted"] == found["unseen_focus"] == found["low_contrast"] == []
    assert found["broken_words"] == []
    assert found["images"] > 0 or kind == "experiment"
    # Below the window pictures of files are not loaded yet.
    assert found["broken"] == 0 or kind == "preview with files"
    assert (sum(found["background"]) > 380) is not dark


@needs_chromium
@needs_axe
def test_a_bad_page_is_seen_to_be_bad(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    Image.new("RGB", (60, 20)).save(tmp_path / "wide.png")
    page.write_text(
        '<!doctype html><html lang="en"><title>bad</title><style>button { outline: 0 }</style><main>'
        "<h1>bad</h1>"
        '<img src="wide.png" width="50" height="50"><p style="color: #bbb; background: #fff">pale</p>'
        '<table style="width: 20px; overflow-wrap: anywhere; table-layout: fixed">'
        '<tr><th scope="col">accuracy</th></tr></table><button>no ring</button>'
        '<div style="overflow: auto"><div style="width: 900px">wide</div></div></main>',
        encoding="utf-8",
    )
    [found] = survey([page], tmp_path, 390)
    kinds = {line.split(":")[0] for line in found["axe"]}
    assert kinds == {"critical image-alt", "serious color-contrast"}
    layout = found["layout"]
    assert layout["distorted"] == [""] and layout["low_contrast"] == ["pale"]
    assert layout["unseen_focus"] == ["<button>no ring</button>"]
    assert layout["broken_words"] == ["accuracy"]
    assert layout["without_alt"] == layout["unreachable"] == 1


def test_one_stylesheet_holds_all_colours() -> None:
    templates = sorted(ROOT.rglob("*.j2"))
    style, colours = TEMPLATES / "_style.html.j2", TEMPLATES / "_colours.css.j2"
    assert len(templates) > 10
    for path in templates:
        text = path.read_text(encoding="utf-8")
        if "{% from '_head.html.j2'" in text:
            assert "{% include '_style.html.j2' %}" in text, path
        if path not in (style, colours):
            assert "<style>" not in text or path.name == "_head.html.j2", path
            assert "color:" not in text and "prefers-color-scheme" not in text, path
    for sheet in (style, *ROOT.rglob("*.css")):
        assert not re.search(r"#[0-9a-f]{3,8}\b|rgb\(\d", sheet.read_text(encoding="utf-8")), sheet
    pages = [path for path in templates if not path.name.startswith("_") and path.name.endswith(".html.j2")]
    assert all("_head.html.j2" in path.read_text(encoding="utf-8") for path in pages)
