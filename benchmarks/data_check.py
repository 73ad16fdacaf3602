"""How long `mghft data check` and its relatives take on generated files; see --help.

Half the files are PNG, half JPEG, 512 px, flat drawings with outlines and some noise, of the sizes that
stickers have (some 30 to 120 kB). `before` is the way the check went until now: two threads of one process.
"""

import argparse
import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).parents[1]))
from mghft.pipeline.audit.check import check_corpus
from mghft.pipeline.corpora.card import Card, Columns
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import ImageTransform, decode_bytes, read_image

TARGET = 30_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=3000, help="files to generate")
    parser.add_argument("--size", type=int, default=512, help="side in pixels")
    parser.add_argument("--only", choices=("before", "full", "fast"), nargs="*")
    parser.add_argument("--folder", type=Path, help="keep the files here (default: a temporary folder)")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.folder)
        return
    folder = options.folder or Path(tempfile.mkdtemp(prefix="data_check_"))
    try:
        if not (folder / "stickers.csv").exists():
            generate(folder, options.count, options.size)
        sizes = [path.stat().st_size for path in (folder / "images").iterdir()]
        cores = len(os.sched_getaffinity(0))
        each = sum(sizes) / len(sizes) / 1e3
        print(f"{len(sizes)} files of {options.size} px, {each:.0f} kB each, {cores} cores", flush=True)
        for name in options.only or WAYS:
            # A process of its own each: its peak memory is its own.
            command = [sys.executable, __file__, "--measure", name, "--folder", str(folder)]
            subprocess.run(command, check=True)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


def generate(folder: Path, count: int, size: int) -> None:
    """A corpus of drawings; files of one kind differ in every color and shape."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = ["path,label,split"]
    for number in range(count):
        random = np.random.default_rng(number)
        image = Image.new("RGBA", (size, size), (255, 255, 255, 0))
        draw = ImageDraw.Draw(image)
        for _ in range(12):
            x, y = random.integers(0, size * 3 // 4, 2).tolist()
            wide, high = random.integers(size // 16, size // 2, 2).tolist()
            color = (*random.integers(0, 256, 3).tolist(), 255)
            draw.ellipse((x, y, x + wide, y + high), fill=color, outline="black", width=size // 100)
        # Shading, as drawn stickers have it; flat areas alone would make PNG files of a few kB.
        pixels = np.asarray(image).copy()
        grain = random.integers(0, 6, (size // 2, size // 2, 1)).repeat(2, 0).repeat(2, 1)
        pixels[..., :3] -= np.minimum(pixels[..., :3], grain.astype(np.uint8))
        image = Image.fromarray(pixels)
        path = f"images/{number:05d}.{'png' if number % 2 else 'jpg'}"
        (image if number % 2 else image.convert("RGB")).save(folder / path, compress_level=6, quality=88)
        lines.append(f"{path},{'odd' if number % 2 else 'even'},{'test' if number % 5 == 0 else 'train'}")
    (folder / "stickers.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def card(folder: Path) -> Card:
    return Card(
        name="generated",
        title="Generated",
        adapter="table",
        labels=("even", "odd"),
        file="stickers.csv",
        columns=Columns(path="path", label="label", split="split"),
        source=folder / "card.md",
    )


def before(folder: Path) -> None:
    """Two threads, as the check was."""

    def inspect(path: str) -> str | None:
        try:
            content = read_image(folder, path)
            hashlib.sha256(content).hexdigest()
            decode_bytes(content, ImageTransform(max_side=64))
        except ImageError as error:
            return str(error)
        return None

    from mghft.pipeline.corpora.load import load_corpus

    paths = [sticker.path for sticker in load_corpus(card(folder), folder).stickers]
    with ThreadPoolExecutor(max_workers=2) as pool:
        assert not any(pool.map(inspect, paths))


def full(folder: Path) -> None:
    """`mghft data check`: every image decoded, in processes."""
    assert not check_corpus(card(folder), folder).problems


def fast(folder: Path) -> None:
    """`mghft data check --fast`: header and end of every file."""
    assert not check_corpus(card(folder), folder, fast=True).problems


WAYS: dict[str, Callable[[Path], None]] = {"before": before, "full": full, "fast": fast}


def measure(name: str, folder: Path) -> None:
    """Seconds of the whole, on the wall and of all processes, and peak memory of the largest of them."""
    count = sum(1 for _ in (folder / "images").iterdir())
    start = time.perf_counter()
    WAYS[name](folder)
    seconds = time.perf_counter() - start
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = sum(usage.ru_utime + usage.ru_stime for usage in (own, children))
    print(
        f"{name:10} {seconds:7.1f} s ({spent:.1f} s of CPU), {seconds / count * 1e3:.2f} ms an image, "
        f"{TARGET} images: {seconds / count * TARGET / 60:.1f} min; "
        f"peak memory {own.ru_maxrss / 1e3:.0f} MB here, {children.ru_maxrss / 1e3:.0f} MB in a child",
        flush=True,
    )


if __name__ == "__main__":
    main()
