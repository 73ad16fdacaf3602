"""What lies under a picture's name is named, with the way out of it."""

import gzip
import zlib

import pytest
from image_bytes import RED, SMALL, chunk, png

from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import decode_bytes, without_texts
from mghft.pipeline.images.header import read_header
from mghft.pipeline.images.kinds import name_kind

FILES = {
    "git lfs pull": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 1\n",
    "web page": b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html><title>403 Forbidden</title></html>",
    "a web page": b'<?xml version="1.0"?>\n<!-- made by a proxy -->\n<html xmlns="http://www.w3.org/1999/xhtml">',
    ".tgs": gzip.compress(b"a text and no animation"),
    "the video is damaged": b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm" + bytes(64),
    "MP4": b"\0\0\0\x20ftypmp42\0\0\0\0mp42isom" + bytes(99),
    "QuickTime": b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + bytes(99),
    "SVG": b'<?xml version="1.0" encoding="UTF-8"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "JSON": b'{"v":"5.7.4","fr":60,"layers":[]}',
    "ZIP": b"PK\x03\x04" + bytes(40),
    "PDF": b"%PDF-1.7\n" + bytes(40),
    "JPEG XL": b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(40),
    "AVI": b"RIFF\x10\x00\x00\x00AVI LIST" + bytes(40),
    "text, not an image": "Zugriff verweigert für diese Seite".encode(),
}


@pytest.mark.parametrize("words", FILES)
def test_kind_of_a_file_is_named(words: str) -> None:
    with pytest.raises(ImageError, match=words.replace(".", r"\.")):
        decode_bytes(FILES[words])
    with pytest.raises(ImageError, match=words.replace(".", r"\.")):
        read_header(FILES[words])


@pytest.mark.parametrize(
    "content", [bytes(100), b"\x89\xff\xfe" * 40, b"short", b"\xe5\xbc\x80" * 3 + b"\xff" * 90]
)
def test_bytes_that_say_nothing_have_no_kind(content: bytes) -> None:
    assert name_kind(content) is None


def test_picture_with_a_long_text_or_profile_is_read() -> None:
    rows = [bytes(RED) * 8] * 8
    zeros = zlib.compress(bytes(3_000_000), 9)
    plain = png(SMALL, 8, 2, rows)
    for kind, start in ((b"zTXt", b"x\0\0"), (b"iTXt", b"x\0\x01\0\0\0"), (b"iCCP", b"x\0\0")):
        content = png(SMALL, 8, 2, rows, chunk(kind, start + zeros))
        assert decode_bytes(content).tobytes() == decode_bytes(plain).tobytes()
        header = read_header(content)
        assert (header.width, header.height, header.whole) == (8, 8, True)
        assert without_texts(content) == plain


def test_cut_picture_with_a_long_text_is_still_damaged() -> None:
    rows = [bytes(RED) * 8] * 8
    content = png(SMALL, 8, 2, rows, chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(3_000_000), 9)))
    with pytest.raises(ImageError, match="damaged or truncated"):
        decode_bytes(content[:-30])
