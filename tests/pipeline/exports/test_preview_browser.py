"""The preview page in a real browser: filters from its address, keys, and hostile texts that stay texts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from browser import chromium, needs_chromium
from describe_bench import KnownEngine, config, make_corpus, run
from PIL import Image

from mghft.pipeline.exports.preview import write_preview

pytestmark = needs_chromium

ATTACK = "<script>document.title = 'attacked'</script><img src=x onerror=\"document.title = 'attacked'\">"
COLOURS = {4: (255, 0, 0), 5: (0, 160, 0), 6: (0, 0, 255), 7: (255, 160, 0)}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Twelve stickers; 1 and 9 failed, 2 carries an attack in every view, 4 to 7 have their own colours."""
    folder = tmp_path_factory.mktemp("preview")
    card = make_corpus(folder / "data", 12, COLOURS)

    def answer(request, text):
        number = int(request.key.sticker_id[-8:-4])
        if number in (1, 9):
            return f"no JSON {ATTACK}"
        if number == 2:
            return json.dumps({view: f"{view} {ATTACK}" for view in json.loads(text)})
        return json.dumps({**json.loads(text), "content": f"animal {number}", "details": "wide open eyes"})

    run(config(card, folder / "run"), KnownEngine(answer, backwards=False))
    return write_preview(folder / "run", data=card.parent).path


def shown(dom: str) -> list[int]:
    """Numbers of the stickers that are not hidden."""
    articles = re.findall(r"<article ([^>]*)>", dom)
    assert len(articles) == 12
    return [
        int(re.search(r'data-id="images/(\d+)', text)[1])
        for text in articles
        if not re.search(r"\bhidden\b", text)
    ]


@pytest.mark.parametrize(
    ("fragment", "wanted"),
    [
        ("", list(range(12))),
        ("#status=failed", [1, 9]),
        ("#label=bright&split=train", [2, 4, 6, 8]),
        ("#split=test&status=ok", [0, 5, 10]),
        ("#q=EYES%20animal%207", [7]),
        ("#q=" + quote("the answer is no valid JSON"), [1, 9]),
        ("#q=tokens%20written", []),
        ("#label=nobody", []),
    ],
)
def test_address_chooses_what_is_shown(page, tmp_path, fragment, wanted):
    dom = chromium(page, tmp_path, "--dump-dom", fragment=fragment)
    assert shown(dom) == wanted
    assert f"{len(wanted)} of 12 shown" in dom


def test_hostile_texts_are_not_run(page, tmp_path):
    dom = chromium(page, tmp_path, "--dump-dom", fragment="#q=" + quote("<script>alert(1)</script>"))
    assert "12 shown" in dom, "the page's own script did run"
    assert "<title>Descriptions of squares by interpreter</title>" in dom
    assert len(re.findall(r"<script\b", dom)) == 1


def test_policy_stops_even_a_script_that_got_in(page, tmp_path):
    """Were the escaping to fail one day: the policy names the page's script by its hash."""
    text = page.read_text(encoding="utf-8")
    for allowed in (False, True):
        broken = text.replace("</header>", f"{ATTACK}</header>")
        if allowed:
            broken = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", broken)
        copy = tmp_path / f"{allowed}.html"
        copy.write_text(broken, encoding="utf-8")
        assert ("<title>attacked" in chromium(copy, tmp_path, "--dump-dom")) is allowed


def test_keys_move_search_and_help(page, tmp_path):
    """A copy without policy carries a script that presses keys and writes what has the focus to the title."""
    keys = """<script>addEventListener("load", () => {
        const seen = [];
        for (const key of ["j", "j", "k", "ArrowDown", "/", "j", "Escape", "?"]) {
            document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
            seen.push(document.activeElement.dataset.id || document.activeElement.id);
        }
        seen.push(document.getElementById("help").open);
        document.title = seen.join(" ");
    });</script>"""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    copy = tmp_path / "keys.html"
    copy.write_text(text.replace("</body>", f"{keys}</body>"), encoding="utf-8")
    title = re.search(
        r"<title>(.*?)</title>", chromium(copy, tmp_path, "--dump-dom", fragment="#label=bright")
    )[1]
    files = [f"images/{number:04d}.png" for number in (0, 2, 0, 2)]
    assert title.split(" ") == [*files, "q", "q", "", "close", "true"]


def colours_in(picture: Path) -> dict[int, int]:
    """Pixels close to the colour of each sticker that has one of its own."""
    image = Image.open(picture).convert("RGB")
    counts = dict.fromkeys(COLOURS, 0)
    for count, pixel in image.getcolors(image.width * image.height):
        for number, colour in COLOURS.items():
            if max(abs(a - b) for a, b in zip(pixel, colour, strict=True)) <= 12:
                counts[number] += count
    return counts


def test_screenshot_shows_the_pictures_that_fit(page, tmp_path):
    found = {}
    for name, fragment in (("all", ""), ("some", "#q=animal%200006")):
        picture = tmp_path / f"{name}.png"
        # Higher than the cards need: once, on a busy machine, the lower row was cut off.
        arguments = (f"--screenshot={picture}", "--window-size=1280,1700")
        chromium(page, tmp_path, *arguments, fragment=fragment)
        found[name] = colours_in(picture)
    # 112 x 112 pixels each, less their round corners.
    assert all(count > 12_000 for count in found["all"].values()), found
    assert {number for number, count in found["some"].items() if count > 0} == {6}, found
