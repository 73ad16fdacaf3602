"""Archives of strangers: nothing leaves the folder, bombs are refused, a kill leaves nothing half done."""

import os
import signal
import stat
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path

import pytest

from mghft.pipeline.corpora import archives
from mghft.pipeline.corpora.archives import pack_folder, read_left_out, unpack


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mghft" / "packs"


def write(path: Path, entries) -> Path:
    """An archive of (name or ZipInfo, content); names as they are, the same one more than once."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in entries:
            archive.writestr(name, content)
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != archives.CONTENTS
    }


def raw_name(name: str) -> zipfile.ZipInfo:
    """An entry under a name that zipfile would mend."""
    entry = zipfile.ZipInfo("x")
    entry.filename = name
    return entry


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


UNSAFE = {
    "../evil.webp": "its path leaves the data folder",
    "a/../../evil.webp": "its path leaves the data folder",
    "..\\evil.webp": "its path leaves the data folder",
    "/etc/evil.webp": "its path is absolute",
    "\\\\host\\evil.webp": "its path is absolute",
    "C:\\evil.webp": "its path is absolute",
    "C:/evil.webp": "its path is absolute",
    "evil.webp\0.txt": "its path holds a NUL character",
    "n" * 300 + ".webp": "its name cannot be written (File name too long)",
}


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_name_is_left_out_and_told(tmp_path, cache, name) -> None:
    path = write(tmp_path / "a.zip", [("1.webp", b"one"), (raw_name(name), b"evil"), ("2.webp", b"two")])
    folder = pack_folder(path)
    assert files(folder) == {"1.webp": b"one", "2.webp": b"two"}
    ((told, reason),) = read_left_out(folder)
    assert (told, reason) == (name, UNSAFE[name])
    assert not list(tmp_path.rglob("*evil*"))


def test_link_is_not_made(tmp_path) -> None:
    path = write(tmp_path / "a.zip", [(link("l"), b"/etc"), ("l/passwd", b"x"), (link("m.webp"), b"1.webp")])
    folder = pack_folder(path)
    assert files(folder) == {"l/passwd": b"x"}
    assert read_left_out(folder) == [("l", "it is a link"), ("m.webp", "it is a link")]


def test_name_that_occurs_twice_and_file_that_would_be_a_folder(tmp_path) -> None:
    entries = [("1.webp", b"one"), ("1.webp", b"other"), ("./1.webp", b"third"), ("1.webp/2.webp", b"two")]
    folder = pack_folder(write(tmp_path / "a.zip", entries))
    assert files(folder) == {"1.webp": b"one"}
    assert [reason for _, reason in read_left_out(folder)][:2] == ["its name occurs twice"] * 2


def test_hidden_files_and_those_of_operating_systems_are_passed_by(tmp_path) -> None:
    entries = [("a/1.webp", b"one"), ("__MACOSX/a/._1.webp", b"x"), ("a/.DS_Store", b"x"), (".x/y", b"x")]
    entries.append((archives.CONTENTS, b"{}"))
    folder = pack_folder(write(tmp_path / "a.zip", entries))
    assert files(folder) == {"a/1.webp": b"one"}
    assert read_left_out(folder) == []


def test_windows_names_become_folders(tmp_path) -> None:
    folder = pack_folder(write(tmp_path / "a.zip", [(raw_name("pack\\1.webp"), b"one")]))
    assert files(folder) == {"pack/1.webp": b"one"}


def test_bomb_is_refused_before_a_byte_is_written(tmp_path, cache) -> None:
    path = write(tmp_path / "a.zip", [(f"{n}.webp", bytes(20 << 20)) for n in range(8)])
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ValueError, match=r"would unpack to 167,772,160 bytes, the limit for its size is"):
        pack_folder(path)
    assert not [one for one in cache.iterdir() if one.is_dir()]


def test_archive_that_lies_about_sizes_unpacks_no_more_than_it_says(tmp_path) -> None:
    content = write(tmp_path / "a.zip", [("1.webp", bytes(1 << 20)), ("2.webp", b"two")]).read_bytes()
    size = (1 << 20).to_bytes(4, "little")
    assert content.count(size) == 2
    (tmp_path / "b.zip").write_bytes(content.replace(size, (10).to_bytes(4, "little")))
    folder = pack_folder(tmp_path / "b.zip")
    assert files(folder) == {"2.webp": b"two"}
    assert read_left_out(folder) == [("1.webp", "it is damaged in the archive")]


def test_too_many_files_are_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(archives, "MAX_FILES", 3)
    path = write(tmp_path / "a.zip", [(f"{n}.webp", b"x") for n in range(4)])
    with pytest.raises(ValueError, match="holds 4 files, the limit is 3"):
        pack_folder(path)


@pytest.mark.parametrize("comment", [b"", b"a comment"])
def test_archive_of_millions_of_files_is_refused_before_its_table_is_read(tmp_path, comment) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("1.webp", b"x")
        archive.comment = comment
    whole = path.read_bytes()
    size = whole.rindex(b"PK\x05\x06") + 12
    path.write_bytes(whole[:size] + (1 << 30).to_bytes(4, "little") + whole[size + 4 :])
    with pytest.raises(ValueError, match="a table of 1,073,741,824 bytes, the limit is 16,777,216"):
        pack_folder(path)


def test_large_kind_of_archive_is_read(tmp_path, monkeypatch) -> None:
    """Of more than 65,535 files or 4 GiB, as `zipfile` would write it; its other record has the sizes."""
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    path = write(tmp_path / "a.zip", [("1.webp", b"one"), ("2.webp", b"two")])
    assert b"PK\x06\x07" in path.read_bytes()
    assert files(pack_folder(path)) == {"1.webp": b"one", "2.webp": b"two"}
    whole = path.read_bytes()
    size = whole.rindex(b"PK\x06\x06") + 40
    path.write_bytes(whole[:size] + (1 << 40).to_bytes(8, "little") + whole[size + 8 :])
    with pytest.raises(ValueError, match=r"a table of 1,099,511,627,776 bytes"):
        pack_folder(path)


def test_unpacked_pack_is_read_where_nothing_can_be_written(tmp_path, cache) -> None:
    path = write(tmp_path / "a.zip", [("1.webp", b"one")])
    folder = pack_folder(path)
    for lock in cache.glob(".*.lock"):
        lock.unlink()
        lock.mkdir()
    assert pack_folder(path) == folder


def test_damaged_entry_is_left_out_and_damaged_archive_refused(tmp_path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("1.webp", b"first sticker")
        archive.writestr("2.webp", b"second sticker")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"first sticker", b"first stocker"))
    folder = pack_folder(path)
    assert files(folder) == {"2.webp": b"second sticker"}
    assert read_left_out(folder) == [("1.webp", "it is damaged in the archive")]
    path.write_bytes(whole[:-30])
    with pytest.raises(ValueError, match=r"a\.zip is damaged .*: download it again"):
        pack_folder(path)
    path.write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match="is no sticker pack: give a folder, or an archive"):
        pack_folder(path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        pack_folder(tmp_path / "absent.zip")


def test_folder_of_archives_is_one_corpus_and_a_damaged_one_is_told(tmp_path) -> None:
    packs = tmp_path / "packs"
    packs.mkdir()
    for name in ("a.wastickers", "b.zip"):
        write(packs / name, [("1.webp", name.encode())])
    (packs / "c.zip").write_bytes(b"PK\x03\x04 and no more")
    (packs / "d.zip").write_bytes(b"a page of the server it came from")
    folder = pack_folder(packs)
    assert files(folder) == {"a.wastickers/1.webp": b"a.wastickers", "b.zip/1.webp": b"b.zip"}
    ((name, reason),) = read_left_out(folder)
    assert name == "c.zip" and "is damaged" in reason
    # A folder that holds stickers itself is taken as it is.
    (packs / "1.png").write_bytes(b"x")
    assert pack_folder(packs) == packs


def test_archive_is_unpacked_once_and_mended(tmp_path) -> None:
    path = write(tmp_path / "a.zip", [("1.webp", b"one"), ("2.webp", b"two")])
    folder = pack_folder(path)
    made = (folder / "1.webp").stat().st_mtime_ns
    path.rename(tmp_path / "renamed.zip")
    assert pack_folder(tmp_path / "renamed.zip") == folder
    assert (folder / "1.webp").stat().st_mtime_ns == made
    (folder / "2.webp").unlink()
    assert files(pack_folder(tmp_path / "renamed.zip")) == {"1.webp": b"one", "2.webp": b"two"}
    assert pack_folder(write(path, [("1.webp", b"other")])) != folder


def test_killed_unpacking_leaves_nothing_and_is_repeated(tmp_path, cache) -> None:
    path = write(tmp_path / "a.zip", [(f"{n}.webp", os.urandom(40_000)) for n in range(300)])
    code = "import sys; from pathlib import Path; from mghft.pipeline.corpora.archives import unpack; "
    code += "unpack({'': Path(sys.argv[1])})"
    child = subprocess.Popen([sys.executable, "-c", code, str(path)])
    while child.poll() is None and not list(cache.glob(".*.new/*")):
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    child.wait()
    killed = child.returncode == -signal.SIGKILL
    assert not killed or not [one for one in cache.iterdir() if not one.name.startswith(".")]
    folder = unpack({"": path})
    with zipfile.ZipFile(path) as archive:
        assert files(folder) == {name: archive.read(name) for name in archive.namelist()}
    assert [one.name for one in cache.iterdir() if one.is_dir()] == [folder.name]


def test_cache_that_cannot_be_written_is_told_with_the_way_out(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    path = write(tmp_path / "a.zip", [("1.webp", b"one")])
    with pytest.raises(OSError, match="name another folder with the variable XDG_CACHE_HOME"):
        pack_folder(path)
