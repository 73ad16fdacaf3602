"""How much memory decoding takes, measured by the system in a process of its own."""

import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from image_bytes import chunk, encode, gif
from odd_images import hopeless_files
from PIL import Image

ROOT = Path(__file__).parents[3]
MB = 1_000_000
# Prints by how much the highest memory of the process rose: what was mapped before does not count.
CHILD = """
import re, sys
from pathlib import Path
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import decode_bytes
from mghft.pipeline.images.transform import ImageTransform
from image_bytes import RED, encode
from PIL import Image

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

transform = ImageTransform.model_validate_json(sys.argv[1])
decode_bytes(encode(Image.new("RGBA", (100, 100), RED), "PNG"), transform)
contents = [Path(name).read_bytes() for name in sys.argv[2:]]
before = peak()
for content in contents:
    try:
        decode_bytes(content, transform)
        print("decoded")
    except ImageError:
        print("refused")
print(peak() - before)
"""


def rise(transform, *paths, outcome="decoded"):
    """Bytes by which decoding the files raises the peak of a fresh process; all must have the outcome."""
    child = subprocess.run(
        [sys.executable, "-c", CHILD, transform, *map(str, paths)],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'pipeline' / 'support'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    *outcomes, risen = child.stdout.split()
    assert outcomes == [outcome] * len(paths)
    return int(risen)


def large_jpeg(width, height):
    """A JPEG whose rows of blocks are all the same, made without ever holding its pixels."""
    strip = Image.radial_gradient("L").resize((width, 16)).convert("RGB")
    content = encode(strip, "JPEG", subsampling=0, restart_marker_rows=1)
    scan = content.index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(content[scan + 2 : scan + 4])
    row = content[start : content.index(b"\xff\xd0", start)]
    rows = [row + bytes([0xFF, 0xD0 + number % 8]) for number in range(height // 8)]
    size = content.index(b"\xff\xc0") + 5
    head = content[:size] + height.to_bytes(2) + content[size + 2 : start]
    return head + b"".join(rows)[:-2] + b"\xff\xd9"


def large_png(width, height, channels):
    packer = zlib.compressobj(1)
    row = b"\0" + bytes(range(256)) * (width * channels // 256) + bytes(width * channels % 256)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, color, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_large_jpeg_takes_a_fraction_of_its_pixels(tmp_path):
    (tmp_path / "a.jpg").write_bytes(large_jpeg(12_000, 12_000))
    used = rise('{"max_pixels": 150000000, "max_side": 512}', tmp_path / "a.jpg")
    assert used < 40 * MB  # 576 MB as pixels of four bytes


def test_refused_bombs_do_not_raise_the_peak(tmp_path):
    paths = []
    for number, odd in enumerate(odd for name, odd in hopeless_files().items() if "bomb" in name):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(odd.content)
    assert len(paths) >= 12
    assert rise("{}", *paths, outcome="refused") < 40 * MB


@pytest.mark.parametrize("channels", [3, 4])
def test_large_png_is_held_once(tmp_path, channels):
    (tmp_path / "a.png").write_bytes(large_png(7000, 7000, channels))
    assert rise("{}", tmp_path / "a.png") < 1.35 * 4 * 49 * MB


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_large_png_of_full_size_is_held_twice(tmp_path, channels):
    (tmp_path / "a.png").write_bytes(large_png(7000, 7000, channels))
    assert rise('{"max_side": null}', tmp_path / "a.png") < 2.2 * 4 * 49 * MB


def test_sheet_of_a_large_animation_holds_one_frame_at_a_time(tmp_path):
    first, *rest = (Image.new("P", (1600, 1600), color) for color in range(16))
    content = encode(first, "GIF", save_all=True, append_images=rest, duration=100)
    (tmp_path / "a.gif").write_bytes(content)
    assert rise('{"frame": "sheet:16"}', tmp_path / "a.gif") < 50 * MB  # 16 frames have 164 MB


def test_many_frames_to_draw_are_refused(tmp_path):
    frames = [((0, 0, 1, 1), 0, 0, None)] * 3000
    (tmp_path / "a.gif").write_bytes(gif((6000, 6000), frames))
    assert rise('{"frame": "middle"}', tmp_path / "a.gif", outcome="refused") < 20 * MB
