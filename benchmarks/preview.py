"""Time, memory and size of `mghft preview` on a generated run, and how long a browser takes over it.

Every figure is of a process of its own. The run is made once and kept in --folder.

    python benchmarks/preview.py --rows 300000 --folder /var/tmp/preview
"""

import argparse
import json
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "benchmarks"))

from describe_run import make_stickers  # noqa: E402

from mghft.pipeline.describe.config import DescribeConfig  # noqa: E402
from mghft.pipeline.describe.run import describe  # noqa: E402
from mghft.pipeline.engines.base import Request, Response  # noqa: E402
from mghft.pipeline.exports.preview import PreviewOptions, write_preview  # noqa: E402
from mghft.pipeline.runs.shards import read_descriptions, shard_paths, write_shard  # noqa: E402
from mghft.pipeline.views import VIEWS  # noqa: E402

PICTURES, SHARD = 400, 2000
LABELS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


class Once:
    """An engine that answers every request with the same words: the run is only there to be copied."""

    capacity = 8

    def __init__(self) -> None:
        self.waiting: list[Request] = []

    def submit(self, request: Request) -> None:
        self.waiting.append(request)

    def collect(self) -> list[Response]:
        taken, self.waiting = self.waiting, []
        text = json.dumps({view: f"{view} of a sticker" for view in VIEWS})
        return [Response(one.key, text, "stop", prompt_tokens=300, output_tokens=160) for one in taken]

    def close(self) -> None:
        self.waiting = []


def make_run(folder: Path, rows: int) -> Path:
    """A run of so many rows: 30 words a view, a tenth failed, 400 pictures of 512 pixels by turns."""
    run = folder / f"run-{rows}"
    if run.exists():
        return run
    (folder / "data").mkdir(exist_ok=True)
    card = make_stickers(folder / "data", PICTURES, 512)
    config = DescribeConfig(card=str(card), data=card.parent, out=run, decode_workers=0)
    describe(config, start_engine=Once)
    described = read_descriptions(run).to_pylist()
    fingerprint = json.loads((run / "manifest.json").read_text())["fingerprint"]
    for path in shard_paths(run):
        path.unlink()
    dice = random.Random(0)
    words = ["".join(dice.choices("aeioulnrst", k=dice.randint(2, 9))) for _ in range(4000)]
    for start in range(0, rows, SHARD):
        shard = []
        for number in range(start, min(rows, start + SHARD)):
            row: dict[str, Any] = dict(described[number % len(described)])
            row.update(sticker_id=f"set-{number // 40:05d}/{number:07d}.png")
            row.update(label_name=LABELS[number % 7], split=("train", "validation", "test")[number % 3])
            row.update({view: " ".join(dice.choices(words, k=30)) for view in VIEWS})
            if number % 10 == 9:
                row.update(
                    dict.fromkeys(VIEWS), status="failed", error="cut at the token limit", raw="{" * 200
                )
            shard.append(row)
        write_shard(run / f"descriptions-{start // SHARD:05d}.parquet", shard, fingerprint)
    return run


def peak_mb() -> int:
    """Largest memory of this process; what getrusage says is also that of the process before exec."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024


def measure(run: str, data: str, out: str, everything: str, limit: str) -> None:
    """Write a preview in this process and print what it took as JSON."""
    before = peak_mb()
    began = time.perf_counter()
    options = PreviewOptions(everything=bool(int(everything)), limit=int(limit) or None)
    page = write_preview(Path(run), options, data=Path(data) if data else None, out=Path(out))
    seconds = time.perf_counter() - began
    files = 0 if page.files is None else len(list(page.files.iterdir()))
    print(
        json.dumps(
            {
                "stickers": page.shown,
                "seconds": round(seconds, 1),
                "peak_mb": peak_mb(),
                "of_it_imports_mb": before,
                "page_mb": round(page.path.stat().st_size / 1e6, 2),
                "all_mb": round(page.bytes / 1e6, 1),
                "files": files,
            }
        )
    )


def browse(page: Path, folder: Path, fragment: str) -> tuple[float, str]:
    """Seconds of a browser from its start to the end of the page, and what the page counts."""
    chromium = shutil.which("chromium") or "google-chrome"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=60000", "--dump-dom"]
    began = time.perf_counter()
    done = subprocess.run(
        [chromium, *options, page.as_uri() + fragment],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    found = re.search(r'<output id="shown"[^>]*>([^<]*)<', done.stdout)
    return time.perf_counter() - began, found[1] if found else "blank"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument(
        "--with-pictures", type=int, default=10_000, help="stickers of the page with pictures"
    )
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    run, data = make_run(given.folder, given.rows), given.folder / "data"
    blank = given.folder / "blank.html"
    blank.write_text("<!doctype html><title>blank</title>")
    print("a browser alone:", round(browse(blank, given.folder, "")[0], 1), "s")
    for name, root, everything, limit in (
        ("one page with pictures", data, 0, 0),
        ("pictures", data, 0, given.with_pictures),
        ("all without pictures", "", 1, 0),
    ):
        out = given.folder / f"{name.replace(' ', '-')}.html"
        command = [sys.executable, __file__, "measure", run, root, out, str(everything), str(limit)]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
        print(f"{name}: {done.stdout.strip()}")
        for what, fragment in (
            ("opened", ""),
            ("filtered", "#status=failed&label=anger"),
            ("searched", "#q=0123456"),
            ("last page", "#page=100000"),
        ):
            seconds, counted = browse(out, given.folder, fragment)
            print(f"  {what}: {seconds:.1f} s, {counted}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure(*sys.argv[2:])
    else:
        main()
