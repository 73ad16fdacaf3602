"""Opens a page in headless Chromium, for the tests of pages, and measures how it is laid out."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium to open the page with: apt-get install chromium"
)


def chromium(page: Path, tmp_path: Path, *arguments: str, fragment: str = "", budget: int = 3000) -> str:
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--hide-scrollbars",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--virtual-time-budget={budget}",
            *arguments,
            page.as_uri() + fragment,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


_MEASURE = """<!doctype html><meta charset="utf-8"><body style="margin: 0">
<iframe id="page" style="width: %(width)dpx; height: 900px; border: 0"></iframe>
<script>
const frame = document.getElementById("page");
function parts(color) {
  const found = color.match(/[0-9.]+/g).map(Number);
  return [...found.slice(0, 3), found.length > 3 ? found[3] : 1];
}
function luminance(color) {
  const [r, g, b] = color.map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function background(node) {
  if (!node) return [255, 255, 255];
  const [r, g, b, alpha] = parts(getComputedStyle(node).backgroundColor);
  if (alpha === 1) return [r, g, b];
  const below = background(node.parentElement);
  return [r, g, b].map((c, i) => alpha * c + (1 - alpha) * below[i]);
}
function measure(page) {
  const root = page.documentElement, images = [...page.images], low = [];
  for (const node of page.querySelectorAll("body *")) {
    const own = [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.getClientRects().length || node.closest("[aria-hidden=true]")) continue;
    const ink = parts(getComputedStyle(node).color).slice(0, 3);
    const [a, b] = [luminance(ink), luminance(background(node))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) low.push(node.textContent.trim().slice(0, 40));
  }
  const ring = ({ outlineStyle, outlineWidth }) => outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
  const stretched = image => image.naturalWidth && getComputedStyle(image).objectFit === "fill"
    && Math.abs(image.clientWidth * image.naturalHeight / image.naturalWidth - image.clientHeight) > 1.5;
  const found = {
    width: root.scrollWidth, visible: root.clientWidth,
    broken: images.filter(image => !image.complete || !image.naturalWidth).length,
    without_alt: images.filter(image => !image.alt).length,
    // A picture in other proportions than its own; with object-fit it keeps them whatever its box is.
    distorted: images.filter(stretched).map(image => image.alt),
    images: images.length, background: background(page.body), low_contrast: low,
    unreachable: [...page.querySelectorAll("*")].filter(node => node.scrollWidth > node.clientWidth + 1
      && /auto|scroll/.test(getComputedStyle(node).overflowX) && node.tabIndex < 0).length,
  };
  // What the keyboard reaches and then shows no ring.
  // Short words of a table's head that are broken within: their column is too narrow to be read.
  found.broken_words = [...page.querySelectorAll("th[scope=col]")].flatMap(cell => {
    const hidden = getComputedStyle(cell.closest("thead") ?? cell).clipPath !== "none";
    const text = cell.firstChild?.nodeType === 3 && !hidden ? cell.firstChild : null;
    return text ? [...text.data.matchAll(/[a-z]{2,12}/gi)].filter(({ 0: word, index }) => {
      const range = page.createRange();
      range.setStart(text, index);
      range.setEnd(text, index + word.length);
      return new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size > 1;
    }).map(([word]) => word) : [];
  });
  const reached = "a[href], button, input, select, summary, [tabindex='0']";
  found.unseen_focus = [...page.querySelectorAll(reached)].filter(node => {
    if (node.disabled || !node.checkVisibility()) return false;
    node.focus({ preventScroll: true });
    return !ring(getComputedStyle(node));
  }).map(node => node.outerHTML.slice(0, 80));
  return found;
}
const wait = milliseconds => new Promise(done => setTimeout(done, milliseconds));
async function open(address) {
  const loaded = new Promise(done => { frame.onload = done; });
  frame.src = address;
  await loaded;
  await wait(300);
  return frame.contentDocument;
}
(async () => {
  const found = [];
  for (const [page, judged] of %(pages)s) {
    const one = { layout: measure(await open(page)), axe: null };
    if (judged) {
      const copy = await open(judged);
      while (!copy.body.dataset.judged) await wait(50);
      one.axe = JSON.parse(copy.body.dataset.judged);
    }
    found.push(one);
  }
  document.body.textContent = "found:" + JSON.stringify(found) + ":end";
})();
</script>"""
# Evaluates to what axe-core finds serious or critical, one line each.
JUDGE = """(async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  const where = nodes => nodes.slice(0, 3).map(node => node.html.slice(0, 160)).join(" | ");
  return violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ impact, id, nodes }) => `${impact} ${id}: ${where(nodes)}`);
})()"""
_JUDGED_PAGE = """
<script>%s</script>
<script>
addEventListener("load", () => setTimeout(async () => {
  document.body.dataset.judged = JSON.stringify(await %s);
}, 100));
</script>"""
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


def axe_core() -> str:
    """Return the script of axe-core, from the package that ships it."""
    return resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


def layout(page: Path, tmp_path: Path, width: int, *, dark: bool = False) -> dict[str, Any]:
    """Return what a page looks like at a width in CSS pixels: overflow, pictures, contrast below 4.5 (AA).

    `unreachable` counts boxes that scroll sideways and that the keyboard cannot reach; `unseen_focus` holds
    what it reaches without a ring, `distorted` the pictures that are stretched.
    """
    return survey([page], tmp_path, width, dark=dark, axe=False)[0]["layout"]


def survey(
    pages: Sequence[Path], tmp_path: Path, width: int, *, dark: bool = False, axe: bool = True
) -> list[dict[str, Any]]:
    """Open pages one after the other; return the layout of each, and what axe-core finds serious or critical.

    axe-core is in a copy of the page without its policy, beside it so that files of the page are found. It
    comes from the package axe-playwright-python. Pages are in a frame, since no window is 390 pixels narrow.
    """
    copies = [page.with_name(f"{page.stem}-judged.html") for page in pages] if axe else []
    if axe:
        judge = _JUDGED_PAGE % (axe_core().replace("</script", "<\\/script"), JUDGE)
        for page, copy in zip(pages, copies, strict=True):
            copy.write_text(_POLICY.sub("", page.read_text(encoding="utf-8")) + judge, encoding="utf-8")
    addresses = [
        [page.as_uri(), copies[number].as_uri() if axe else None] for number, page in enumerate(pages)
    ]
    wrapper = tmp_path / f"wrapper-{width}.html"
    wrapper.write_text(_MEASURE % {"width": width, "pages": json.dumps(addresses)}, encoding="utf-8")
    try:
        dom = chromium(
            wrapper,
            tmp_path,
            "--dump-dom",
            "--allow-file-access-from-files",
            f"--window-size={width + 40},1000",
            *(["--force-dark-mode"] if dark else []),
            budget=3000 + 20_000 * len(copies),
        )
    finally:
        for copy in copies:
            copy.unlink()
    assert "<script>" not in dom, "the pages were not measured to the end"
    found: list[dict[str, Any]] = json.loads(html.unescape(dom.split("found:")[1].split(":end")[0]))
    return found
