"""The page of a try in a real browser: filters from its address, marks word by word, keys, hostile texts."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest
from browser import chromium, needs_chromium
from describe_bench import make_corpus
from PIL import Image
from trial_bench import ATTACK, Tellers, attempt, write_pack

from mghft.pipeline.trials.page import write_trial_page

COLOURS = {4: (255, 0, 0), 6: (0, 0, 255), 7: (0, 160, 0)}
MARK = (255, 224, 138)


def told(number, prompt, views):
    """alpha and beta differ in one word of details for even stickers; beta fails for 1 and 9."""
    if prompt == "beta" and number in (1, 9):
        return f"no JSON {ATTACK}"
    eyes = "closed" if prompt == "beta" and number % 2 == 0 else "open"
    own = {"content": f"Animal {number}.", "style": ATTACK if number == 2 else "flat", "intention": "你好吗"}
    if prompt == "beta" and number == 3:
        own["intention"] = "你真好"
    own["details"] = f"Its eyes are {eyes}, and it waves."
    return {view: own[view] for view in views}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Twelve stickers, prompts alpha, beta and gamma; gamma asks for content and intention alone."""
    folder = tmp_path_factory.mktemp("tries")
    card = make_corpus(folder / "data", 12, COLOURS)
    few = {"content": "it", "style": None, "intention": "what for", "details": None}
    prompts = [write_pack(folder, "alpha"), write_pack(folder, "beta", name=f"beta {ATTACK}"[:40]),
               write_pack(folder, "gamma", views=few)]  # fmt: skip
    done = attempt(
        card, folder / "tries", *prompts, engine=Tellers(told), where=("split=train,test",), limit=12
    )
    return write_trial_page(done, card.parent)[0]


class Dom(HTMLParser):
    """What a page shows: rows, prompts, views, and the marked words by (sticker, prompt, view)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.tags = text, []
        self.rows, self.heads, self.views, self.marks = [], [], set(), {}
        self._row = self._pack = self._view = None
        self._off = self._marked = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append((tag, given))
        shown = "hidden" not in given
        if tag == "tr" and "data-id" in given:
            self._row, self._off = int(given["data-id"][-8:-4]), not shown
            if shown:
                self.rows.append(self._row)
        elif tag == "th" and "data-pack" in given and shown:
            self.heads.append(int(given["data-pack"]))
        elif tag == "td" and "data-pack" in given:
            self._pack = None if not shown else int(given["data-pack"])
        elif "data-view" in given:
            self._view = given["data-view"] if shown and self._pack is not None and not self._off else None
            if self._view:
                self.views.add(self._view)
        elif tag == "mark":
            self._marked = True

    def handle_endtag(self, tag):
        if tag == "mark":
            self._marked = False

    def handle_data(self, data):
        if self._marked and self._view:
            self.marks.setdefault((self._row, self._pack, self._view), []).append(data)


def opened(page, tmp_path, fragment=""):
    return Dom(chromium(page, tmp_path, "--dump-dom", fragment=fragment))


ALL = list(range(12))


@needs_chromium
@pytest.mark.parametrize(
    ("fragment", "rows", "heads"),
    [
        ("", ALL, [0, 1, 2]),
        ("#show=failed&packs=0,2", [], [0, 2]),
        ("#show=failed&label=dark", [1, 9], [0, 1, 2]),
        ("#show=differ", [0, 2, 3, 4, 6, 8, 10], [0, 1, 2]),
        ("#show=differ&view=intention", [3], [0, 1, 2]),
        ("#packs=1&q=EYES%20closed&label=bright", [0, 2, 4, 6, 8, 10], [1]),
        ("#view=content&q=waves", [], [0, 1, 2]),
        ("#q=" + quote("no valid JSON"), [1, 9], [0, 1, 2]),
        ("#label=nobody", [], [0, 1, 2]),
    ],
)
def test_address_chooses_what_is_shown(page, tmp_path, fragment, rows, heads):
    found = opened(page, tmp_path, fragment)
    assert (found.rows, found.heads) == (rows, heads)
    assert f"{len(rows)} of 12 stickers, {len(heads)} of 3 prompts" in found.text


@needs_chromium
def test_marks_are_the_words_that_the_first_prompt_has_not(page, tmp_path):
    found = opened(page, tmp_path)
    wanted = {(number, 1, "details"): ["closed"] for number in ALL[::2]}
    wanted[3, 1, "intention"] = ["真"]
    assert found.marks == wanted


@needs_chromium
def test_marks_against_another_prompt(page, tmp_path):
    marks = opened(page, tmp_path, "#base=1&view=details&label=bright").marks
    assert marks == {(number, 0, "details"): ["open"] for number in ALL[::2]}
    # The longest common sequence of 你好吗 and 你真好 is 你好: the last sign is new.
    assert opened(page, tmp_path, "#base=1&q=" + quote("animal 3")).marks[3, 2, "intention"] == ["吗"]


@needs_chromium
def test_one_view_alone_and_no_marks(page, tmp_path):
    found = opened(page, tmp_path, "#view=intention&base=")
    assert found.views == {"intention"}
    assert found.marks == {}


@needs_chromium
def test_hostile_texts_are_not_run(page, tmp_path):
    found = opened(page, tmp_path, "#base=1&q=" + quote("</script><script>alert(1)</script>"))
    assert "<title>Prompts tried on squares</title>" in found.text
    assert [tag for tag, _ in found.tags].count("script") == 1
    assert not [name for _, given in found.tags for name in given if name.startswith("on")]
    assert found.text.count("&lt;script&gt;document.title") >= 4


@needs_chromium
def test_keys(page, tmp_path):
    """A copy without policy carries a script that presses keys and writes what came of it to the title."""
    keys = """<script>addEventListener("load", () => {
        const seen = [];
        for (const key of ["j", "j", "k", "ArrowDown", "/", "j", "Escape", "d", "2", "v", "b", "0", "?"]) {
            document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
            seen.push((document.activeElement.dataset.id || document.activeElement.id) + location.hash);
        }
        seen.push(document.getElementById("help").open);
        document.title = seen.join(" ");
    });</script>"""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    copy = tmp_path / "keys.html"
    copy.write_text(text.replace("</body>", f"{keys}</body>"), encoding="utf-8")
    seen = re.search(r"<title>(.*?)</title>", chromium(copy, tmp_path, "--dump-dom"))[1]
    files = [f"images/{number:04d}.png" for number in (0, 1, 0, 1)]
    hashes = ["#show=differ", "#show=differ&amp;packs=0%2C2", "#view=content&amp;show=differ&amp;packs=0%2C2"]
    hashes += ["#view=content&amp;show=differ&amp;base=1&amp;packs=0%2C2", "", "close", "true"]
    assert seen.split(" ") == [*files, "q", "q", "", *hashes]


def colours_in(picture: Path) -> dict[object, int]:
    """Pixels close to the colour of each sticker that has one of its own, and of the marks."""
    image = Image.open(picture).convert("RGB")
    wanted = {**COLOURS, "mark": MARK}
    counts: dict[object, int] = dict.fromkeys(wanted, 0)
    for count, pixel in image.getcolors(image.width * image.height):
        for name, colour in wanted.items():
            if max(abs(a - b) for a, b in zip(pixel, colour, strict=True)) <= 12:
                counts[name] += count
    return counts


@needs_chromium
def test_screenshot_shows_the_stickers_that_fit_and_their_marks(page, tmp_path):
    found = {}
    for name, fragment in (("all", ""), ("one", "#base=&q=animal%206")):
        picture = tmp_path / f"{name}.png"
        # Of a page that is higher than the window only the upper part is drawn.
        high = page.read_text(encoding="utf-8").replace("max-height: 92vh", "max-height: none")
        copy = tmp_path / "high.html"
        copy.write_text(
            re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", high), encoding="utf-8"
        )
        chromium(copy, tmp_path, f"--screenshot={picture}", "--window-size=1400,4600", fragment=fragment)
        found[name] = colours_in(picture)
    # 112 x 112 pixels each, less their round corners.
    assert all(found["all"][number] > 12_000 for number in COLOURS), found
    assert found["one"][6] > 12_000 and found["one"][4] == found["one"][7] == 0, found
    assert found["all"]["mark"] > 1000 and found["one"]["mark"] == 0, found


def test_page_loads_nothing_and_allows_its_own_script_alone(page):
    text = page.read_text(encoding="utf-8")
    found = Dom(text)
    for _, given in found.tags:
        assert given.get("src", "data:").startswith("data:")
        assert "href" not in given
    assert not re.search(r"@import|url\(|https?:", text)
    policy = next(given["content"] for _, given in found.tags if "Policy" in given.get("http-equiv", ""))
    assert policy.startswith("default-src 'none'; img-src data:; ") and "unsafe" not in policy
    for tag in ("style", "script"):
        content = re.search(rf"<{tag}>(.*)</{tag}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_page_counts_tokens_and_failures_of_every_prompt(page):
    text = re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8").split("<tbody>")[1].split("</tbody>")[0])
    lines = re.split(r"(?=alpha|beta|gamma)", " ".join(text.split()))[1:]
    assert lines[0].startswith("alpha joint, en 12 0 84 (7.0) 108 (9.0)")
    assert " joint, en 10 2 84 (7.0) 108 (9.0)" in lines[1]
    assert lines[2].startswith("gamma joint, en 12 0 ") and "style" not in lines[2]
