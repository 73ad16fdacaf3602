"""How long stickers of each kind take to decode at 512 px: here, and in the process apart that training uses.

    python benchmarks/sticker_kinds.py --count 200

Drawings are alike in every kind: 30 frames of a ring that turns, with transparency. Encoding is not measured.
"""

import argparse
import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "pipeline" / "support"))
from sticker_files import heic, square, tgs, webm

from mghft.pipeline.images import worker
from mghft.pipeline.images.decode import decode_bytes
from mghft.pipeline.images.transform import ImageTransform

FRAMES = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="decodings of each kind")
    count = parser.parse_args().count
    frames = [draw(360 * number // FRAMES) for number in range(FRAMES)]
    stickers = {
        "WebP, animated": save(frames, "WEBP"),
        "PNG, animated": save(frames, "PNG"),
        ".tgs, 20 squares": tgs(*(square((255, 9 * n, 0), side=500 - 20 * n, opacity=50) for n in range(20))),
        ".webm, VP9 with alpha": webm([np.asarray(frame) for frame in frames]),
        "HEIC": heic(frames[0], quality=80),
    }
    print(f"{'kind':24}{'bytes':>9}{'first, ms':>12}{'middle, ms':>12}{'apart, first, ms':>18}")
    for name, content in stickers.items():
        worker._serving = True
        times = [measure(content, frame, count) for frame in ("first", "middle")]
        worker._serving = False
        times.append(measure(content, "first", count))
        print(f"{name:24}{len(content):>9,}{times[0]:>12.2f}{times[1]:>12.2f}{times[2]:>18.2f}", flush=True)


def measure(content: bytes, frame: str, count: int) -> float:
    """Milliseconds of one decoding, the median; the first one, which loads libraries, apart."""
    transform, times = ImageTransform(frame=frame), []
    for _ in range(count + 1):
        started = time.perf_counter()
        decode_bytes(content, transform)
        times.append(1000 * (time.perf_counter() - started))
    return float(np.median(times[1:]))


def draw(angle: int) -> Image.Image:
    image = Image.new("RGBA", (512, 512))
    ImageDraw.Draw(image).arc((40, 40, 470, 470), angle, angle + 300, (230, 60, 90, 255), 60)
    return image


def save(frames: list[Image.Image], form: str) -> bytes:
    stream = BytesIO()
    frames[0].save(stream, form, save_all=True, append_images=frames[1:], duration=33)
    return stream.getvalue()


if __name__ == "__main__":
    main()
