"""Every odd file ends in a correct decode or in one plain reason; see `odd_images` for the files."""

import csv
import random
import re
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from describe_bench import CARD, KnownEngine, config, run
from image_bytes import encode, noise
from odd_images import odd_files, write_files, write_odd_paths
from PIL import Image

from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import decode_bytes, read_image
from mghft.pipeline.images.transform import ImageTransform
from mghft.pipeline.runs.shards import read_descriptions

ROOT = Path(__file__).parents[3]
FILES = odd_files()


def judge(odd, decode):
    """Asserts that `decode` gives what the file is said to give."""
    if odd.reason is None:
        image = decode()
        assert (type(image), image.mode, image.size) == (Image.Image, "RGB", odd.size)
        for place, color in odd.pixels.items():
            found = image.getpixel(place)
            assert all(abs(a - b) <= odd.by for a, b in zip(found, color, strict=True)), (place, found)
        return
    with pytest.raises(ImageError, match=odd.reason) as caught:
        decode()
    reason = str(caught.value)
    # For people and for counting: one short line, the same in every run and on every machine.
    assert "\n" not in reason
    assert len(reason) < 160
    assert not re.search("object at|/tmp|unpack_from", reason)


def outcome(content, transform):
    """Nothing but an RGB image or an `ImageError` comes out."""
    try:
        image = decode_bytes(content, transform)
    except ImageError:
        return "refused"
    image.tobytes()
    return "decoded" if image.mode == "RGB" else image.mode


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("odd") / "root"
    files = write_files(root)
    return root, {**files, **write_odd_paths(root)}


def test_the_set_is_large():
    assert len(FILES) >= 40


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", FILES)
def test_odd_file(folder, name):
    root, files = folder
    judge(files[f"files/{name}"], lambda: decode_bytes(read_image(root, f"files/{name}")))


@pytest.mark.timeout(60)
def test_odd_paths(folder):
    root, files = folder
    paths = [path for path in files if path.removeprefix("files/") not in FILES]
    assert len(paths) == len(files) - len(FILES) >= 16
    for path in paths:
        judge(files[path], lambda path=path: decode_bytes(read_image(root, path)))


@pytest.mark.parametrize("frame", ["middle", 1, 99, "sheet:4"])
def test_odd_file_with_another_frame(frame):
    for name, odd in FILES.items():
        if odd.content:
            assert outcome(odd.content, ImageTransform(frame=frame)) in ("decoded", "refused"), name


def test_small_side_gives_the_same_verdicts():
    for name, odd in FILES.items():
        try:
            image = decode_bytes(odd.content or b" ", ImageTransform(max_side=16))
        except ImageError:
            assert odd.reason is not None, name
        else:
            assert odd.reason is None, name
            assert max(image.size) <= 16


def test_decoding_says_nothing_even_where_warnings_are_errors(folder):
    root, files = folder
    # A damaged LZW stream is the exception: libtiff itself writes one line to the standard error.
    names = [name for name in files if "bad-lzw" not in name and "\0" not in name]
    code = (
        "import sys\nfrom pathlib import Path\nfrom mghft.pipeline.images.color import ImageError\n"
        "from mghft.pipeline.images.decode import decode_bytes, read_image\n"
        "root, ok = Path(sys.argv[1]), 0\n"
        "for name in sys.argv[2:]:\n"
        "    try:\n        decode_bytes(read_image(root, name))\n        ok += 1\n"
        "    except ImageError: pass\n"
        "print(ok)"
    )
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(root), *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (child.stderr, child.returncode) == ("", 0)
    assert int(child.stdout) == sum(odd.reason is None for odd in files.values())


def test_threads_do_not_let_a_warning_through():
    content = FILES["exif-damaged.jpg"].content
    with warnings.catch_warnings(record=True) as seen, ThreadPoolExecutor(8) as pool:
        warnings.simplefilter("always")
        assert len(list(pool.map(decode_bytes, [content] * 200))) == 200
    assert seen == []


def test_run_over_the_whole_set(folder, tmp_path):
    root, files = folder
    files = {path: odd for path, odd in files.items() if "\0" not in path}
    with (root / "stickers.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split"])
        rows.writerows([path, "dark", "train"] for path in files)
    card = root / "odd.md"
    card.write_text(CARD, encoding="utf-8")
    stats = run(config(card, tmp_path / "out"), KnownEngine())
    rows = {row["path"]: row for row in read_descriptions(tmp_path / "out").to_pylist()}
    assert stats["rows"] == len(rows) == len(files)
    for path, odd in files.items():
        assert rows[path]["status"] == ("failed" if odd.reason else "ok"), path
        assert re.search(odd.reason or "^$", rows[path]["error"] or ""), path
    assert stats["failed"] == sum(odd.reason is not None for odd in files.values())


@pytest.mark.parametrize(
    "format_", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "ICO", "PPM", "AVIF", "MPO", "APNG"]
)
def test_mutated_files_end_in_an_image_or_an_image_error(format_):
    draw = random.Random(format_)
    animated = {"save_all": True, "append_images": [noise((24, 24), seed=1)]}
    options = animated if format_ in ("GIF", "WEBP", "MPO", "APNG", "TIFF") else {}
    if format_ == "TIFF":
        options = {**options, "compression": "tiff_adobe_deflate"}
    content = encode(noise((24, 24)), "PNG" if format_ == "APNG" else format_, **options)
    outcomes = set()
    for _ in range(60):
        mutant = bytearray(content)
        for _ in range(draw.choice([1, 1, 3, 20])):
            # Headers decide more than pixels do.
            place = (
                draw.randrange(min(len(mutant), 64)) if draw.random() < 0.5 else draw.randrange(len(mutant))
            )
            change = draw.random()
            if change < 0.6:
                mutant[place] = draw.choice([0, 1, 127, 128, 255, draw.randrange(256)])
            elif change < 0.8:
                del mutant[place : place + draw.randrange(1, 9)]
            else:
                mutant[place:place] = draw.randbytes(draw.randrange(1, 9))
        frame = draw.choice(["first", "middle", 1, "sheet:3"])
        outcomes.add(outcome(bytes(mutant), ImageTransform(frame=frame, max_pixels=1_000_000)))
    assert "refused" in outcomes <= {"refused", "decoded"}
