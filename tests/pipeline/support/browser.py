"""Opens a page in headless Chromium, for the tests of pages, and measures how it is laid out."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium to open the page with: apt-get install chromium"
)


def chromium(page: Path, tmp_path: Path, *arguments: str, fragment: str = "") -> str:
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
            "--virtual-time-budget=3000",
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
<iframe id="page" src="%s" style="width: %dpx; height: 900px; border: 0"></iframe>
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
frame.onload = () => setTimeout(() => {
  const page = frame.contentDocument, root = page.documentElement, low = [];
  const images = [...page.images];
  for (const node of page.querySelectorAll("body *")) {
    const own = [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.getClientRects().length || node.closest("[aria-hidden=true]")) continue;
    const ink = parts(getComputedStyle(node).color).slice(0, 3);
    const [a, b] = [luminance(ink), luminance(background(node))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) low.push(node.textContent.trim().slice(0, 40));
  }
  document.body.textContent = "found:" + JSON.stringify({
    width: root.scrollWidth, visible: root.clientWidth,
    broken: images.filter(image => !image.complete || !image.naturalWidth).length,
    without_alt: images.filter(image => !image.alt).length,
    images: images.length, background: background(page.body), low_contrast: low,
    unreachable: [...page.querySelectorAll("*")].filter(node => node.scrollWidth > node.clientWidth + 1
      && /auto|scroll/.test(getComputedStyle(node).overflowX) && node.tabIndex < 0).length,
  }) + ":end";
}, 300);
</script>"""


def layout(page: Path, tmp_path: Path, width: int, *, dark: bool = False) -> dict[str, Any]:
    """Return what a page looks like at a width in CSS pixels: overflow, pictures, contrast below 4.5 (AA).

    `unreachable` counts boxes that scroll sideways and that the keyboard cannot reach.
    """
    wrapper = tmp_path / f"wrapper-{width}.html"
    wrapper.write_text(_MEASURE % (page.as_uri(), width), encoding="utf-8")
    dom = chromium(
        wrapper,
        tmp_path,
        "--dump-dom",
        "--allow-file-access-from-files",
        f"--window-size={width + 40},1000",
        *(["--force-dark-mode"] if dark else []),
    )
    found: dict[str, Any] = json.loads(html.unescape(dom.split("found:")[-1].split(":end")[0]))
    return found
