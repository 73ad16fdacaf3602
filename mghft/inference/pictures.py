"""Pictures to classify: paths, bytes, Pillow images and stickers of a corpus, all decoded as in training."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import MAX_FILE_BYTES, decode_bytes, read_image
from mghft.pipeline.images.prefetch import ImagePrefetcher
from mghft.pipeline.images.transform import ImageTransform
from mghft.pipeline.text import printable

# As the trainer decodes: no bound of the longer side.
FULL_SIZE = ImageTransform(max_side=None)
# Files that are read ahead of the one that is waited for.
_AHEAD = 32
_PNG_MODES = frozenset({"1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"})
Source = str | Path | bytes | bytearray | Image.Image | Sticker


@dataclass(frozen=True)
class Picture:
    """One picture, decoded, or why it cannot be.

    Attributes:
        name: for people: its path or place.
        image: RGB in its full size; None with an error.
        content: bytes of its file; empty with an error.
        text: printed on the sticker, where that is known.
        error: why there is no image.
    """

    name: str
    image: Image.Image | None
    content: bytes
    text: str | None = None
    error: str | None = None


def read_picture(
    source: Source, place: int = 0, root: Path | None = None, *, max_pixels: int | None = None
) -> Picture:
    """Read and decode one picture in this process; never raises for what is wrong with it.

    Args:
        source: a path, the bytes of a file, a Pillow image (the frame it stands on), or a sticker of
            a corpus.
        place: names what has no name, from 0.
        root: of the corpus of a sticker.
        max_pixels: a larger one is refused before it is decoded; None: the usual limit.

    Raises:
        TypeError: it is none of these, or a sticker comes without the root of its corpus.
    """
    name, text = f"image {place + 1}", None
    try:
        if isinstance(source, Sticker):
            if root is None:
                raise TypeError("a sticker is found below the root of its corpus: pass root=…")
            name, text = source.id, source.text
            content = read_image(root, source.path)
        elif isinstance(source, str | Path):
            name = printable(str(source))
            path = Path(source).absolute()
            content = read_image(path.parent, path.name) if not path.is_symlink() else _read_link(path)
        elif isinstance(source, Image.Image):
            content = _encode(source)
        elif isinstance(source, bytes | bytearray):
            content = bytes(source)
        else:
            raise TypeError(
                f"a picture is a path, bytes, a Pillow image or a sticker, not {type(source).__name__}"
            )
        if len(content) > MAX_FILE_BYTES:
            raise ImageError(f"the file has {len(content)} bytes, the limit is {MAX_FILE_BYTES}")
        transform = FULL_SIZE
        if max_pixels is not None:
            transform = FULL_SIZE.model_copy(update={"max_pixels": max_pixels})
        return Picture(name, decode_bytes(content, transform), content, text)
    except ImageError as error:
        return Picture(name, None, b"", text, printable(str(error)))


def read_pictures(paths: Iterable[Path], workers: int) -> Generator[Picture]:
    """Read and decode files in processes of their own, in order and a little ahead; a crash costs its file.

    Args:
        paths: of any number: no more than some dozens are in memory.
        workers: processes; 0 decodes here.
    """
    if not workers:
        yield from (read_picture(path) for path in paths)
        return
    root = Path(Path.cwd().anchor)
    source = iter(paths)
    with closing(ImagePrefetcher(root, FULL_SIZE, keep=True, workers=workers)) as images:
        waiting: deque[tuple[Path, object]] = deque()
        while True:
            while len(waiting) < _AHEAD and (path := next(source, None)) is not None:
                waiting.append((path, images.submit(str(path.resolve().relative_to(root)))))
            if not waiting:
                return
            path, pending = waiting.popleft()
            loaded = images.result(pending)  # type: ignore[arg-type]
            error = None if loaded.image is not None else loaded.error or "the file cannot be read"
            yield Picture(printable(str(path)), loaded.image, loaded.content or b"", None, error)


def _read_link(path: Path) -> bytes:
    """Read what a link that the user named leads to: the user's own choice, as with any other program."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise ImageError("the file is missing: its link leads nowhere") from None
    return read_image(target.parent, target.name)


def _encode(image: Image.Image) -> bytes:
    """Return a lossless file of a Pillow image, so that there is one way of decoding."""
    frame = image.copy()
    if frame.mode not in _PNG_MODES:
        frame = frame.convert("RGBA" if "A" in frame.mode or "a" in frame.mode else "RGB")
    file = io.BytesIO()
    profile, exif = image.info.get("icc_profile"), image.getexif()
    try:
        frame.save(file, "PNG", icc_profile=profile, exif=exif.tobytes() if exif else None)
    except (OSError, ValueError) as error:
        raise ImageError(f"the image cannot be read: {error}") from None
    return file.getvalue()
