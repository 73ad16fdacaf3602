"""A hostile sticker costs its own row: bombs, lies, crashes of libraries, and libraries that are absent."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from sticker_files import half, heic, square, tgs, webm

import mghft
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import decode_bytes
from mghft.pipeline.images.extra import is_lacking_library
from mghft.pipeline.images.parallel import map_images
from mghft.pipeline.images.prefetch import ImagePrefetcher
from mghft.pipeline.images.transform import ImageTransform

RED = (255, 0, 0)
TGS, WEBM = tgs(square(RED)), webm([half(RED)] * 4)
HEIC = heic(Image.fromarray(half(RED)))
INSIDE_ITSELF = {"ty": 0, "refId": "c", "ks": {}, "w": 512, "h": 512, "ip": 0, "op": 60, "st": 0}
# Drawn without end by rlottie, which then crashes.
ENDLESS = tgs(INSIDE_ITSELF, assets=[{"id": "c", "layers": [INSIDE_ITSELF]}])
OUTSIDE = {"id": "i", "w": 9, "h": 9, "u": "/etc/", "p": "passwd", "e": 0}


def lying_video() -> bytes:
    """A video whose header says 64 x 64 and whose pictures have 640 x 480 pixels."""
    content = webm([half(RED, (640, 480))])
    for size in (b"\xb0\x82\x02\x80", b"\xba\x82\x01\xe0"):
        assert size in content
        content = content.replace(size, size[:2] + b"\0\x40")
    return content


HOSTILE = {
    "unpacks to more than 16 MiB": gzip.compress(b'{"layers":[' + bytes([32]) * (64 << 20) + b"]}"),
    "truncated: its gzip data": TGS[:-20],
    "gzip cannot unpack": TGS[:-8] + b"\0\0\0\0" + TGS[-4:],
    "JSON cannot be read": gzip.compress(b'{"layers":' + b"[" * 100_000),
    "without an animation": gzip.compress(b'{"ok":false,"error_code":404}'),
    "100000x100000 pixels": tgs(square(RED), w=100_000, h=100_000),
    "no pixels": tgs(square(RED), w=0, h=0),
    "field 'op'": gzip.compress(b'{"w":512,"h":512,"ip":0,"op":1e999,"layers":[]}'),
    "field 'w'": tgs(square(RED), w="512"),
    "more than 100000 frames": tgs(square(RED), end=10**8),
    "pictures of other files": tgs(square(RED), assets=[OUTSIDE]),
    "makes the decoder crash": ENDLESS,
    "the file ends before its segment": WEBM[:-30],
    "it has no segment": WEBM[:20],
    "End of file": WEBM[:300] + bytes(len(WEBM) - 300),
    "Invalid data": WEBM[:600] + bytes(len(WEBM) - 600),
    "damaged or truncated": HEIC[:-10],
    "without an animation .* in it": gzip.compress(b"just text"),
}


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_file_is_refused_with_its_reason(words) -> None:
    with pytest.raises(ImageError, match=words):
        decode_bytes(HOSTILE[words])
    # And the process that decodes is there for the next one.
    assert decode_bytes(TGS).size == (512, 512)


def test_video_with_larger_pictures_than_it_says_is_refused() -> None:
    content = lying_video()
    assert decode_bytes(content).size == (640, 480)
    with pytest.raises(ImageError, match=r"pixels|damaged"):
        decode_bytes(content, ImageTransform(max_pixels=64 * 64))


def test_long_video_is_shown_by_its_first_frame_but_not_played_to_its_middle(monkeypatch) -> None:
    """Its length is known only by decoding, which ends at the limit that animations have."""
    from mghft.pipeline.images import animation, worker

    monkeypatch.setattr(animation, "_MAX_DRAWN", 2.5 * 64 * 48 / 50_000_000)
    monkeypatch.setattr(animation, "_SMALL_FRAME", 500)
    monkeypatch.setattr(worker, "_serving", True)
    assert decode_bytes(WEBM).size == (64, 48)
    with pytest.raises(ImageError, match="the animation is too long: 3 frames of 64x48"):
        decode_bytes(WEBM, ImageTransform(frame="middle"))


def test_wrong_suffix_does_not_matter(tmp_path) -> None:
    for name, content in (("a.png", TGS), ("b.tgs", WEBM), ("c.jpg", HEIC)):
        (tmp_path / name).write_bytes(content)
    with_sizes = map_images(tmp_path, ["a.png", "b.tgs", "c.jpg"], image_size, workers=1)
    assert with_sizes == [[512, 512], [64, 48], [64, 48]]


def image_size(root: Path, path: str) -> list[int]:
    return list(decode_bytes((root / path).read_bytes()).size)


FORK = """
import os, sys
from pathlib import Path
from mghft.pipeline.images.decode import decode_image

root = Path(sys.argv[1])
print(decode_image(root, "1.tgs").size, flush=True)
child = os.fork()
print(decode_image(root, "1.tgs").size, flush=True)
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_process_and_its_fork_decode_apart_from_each_other(tmp_path) -> None:
    (tmp_path / "1.tgs").write_bytes(TGS)
    command = [sys.executable, "-W", "error", "-c", FORK, str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(Path(mghft.__file__).parents[1])}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(512, 512)\n" * 3, "")


def test_workers_go_on_after_a_crash(tmp_path) -> None:
    names = [f"{number}.tgs" for number in range(6)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(ENDLESS if number in (1, 4) else TGS)
    fetcher = ImagePrefetcher(tmp_path, ImageTransform(), workers=2)
    try:
        images = [fetcher.submit(name) for name in names]
        loaded = [fetcher.result(image) for image in images]
    finally:
        fetcher.close()
    assert [one.error for one in loaded] == [
        "the image makes the decoder crash" if number in (1, 4) else None for number in range(6)
    ]


@pytest.fixture
def absent(tmp_path) -> dict[str, str]:
    """An environment in which none of the libraries can be imported."""
    folder = tmp_path / "absent"
    for name in ("av", "pillow_heif", "rlottie_python"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise ImportError('absent')\n")
    root = Path(mghft.__file__).parents[1]
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{root}"}


def test_absent_library_is_named_for_each_file(tmp_path, absent) -> None:
    data = tmp_path / "data"
    for label, name, content in (("a", "1.tgs", TGS), ("a", "2.webm", WEBM), ("b", "3.heic", HEIC)):
        (data / label).mkdir(parents=True, exist_ok=True)
        (data / label / name).write_bytes(content)
    Image.new("RGB", (8, 8), RED).save(data / "b" / "4.png")
    reasons = tmp_path / "reasons.csv"
    command = ["data", "check", "folder", "--data", str(data), "--left-out", str(reasons)]
    done = subprocess.run(
        [sys.executable, "-m", "mghft", *command], env=absent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "3 images cannot be read" in done.stdout
    lines = reasons.read_text().splitlines()[1:]
    way_out = "pip install 'mghft[stickers]'"
    assert lines == [
        f'a/1.tgs,"the file is a Lottie animation (.tgs), which needs the package rlottie-python: {way_out}"',
        f'a/2.webm,"the file is a WebM or Matroska video, which needs the package av: {way_out}"',
        f'b/3.heic,"the file is a HEIC image, which needs the package pillow-heif: {way_out}"',
    ]
    assert all(is_lacking_library(line.rstrip('"')) for line in lines)
    # Nothing else is lost, and with the libraries nothing is.
    again = subprocess.run(
        [sys.executable, "-m", "mghft", "data", "check", "folder", "--data", str(data)],
        env={**absent, "PYTHONPATH": absent["PYTHONPATH"].partition(os.pathsep)[2]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert json.dumps("4 stickers")[1:-1] in again.stdout
