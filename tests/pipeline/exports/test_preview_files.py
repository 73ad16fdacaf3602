"""A preview of more stickers than a page holds: files beside it, all of them searched, pictures on demand."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest
from browser import chromium, needs_chromium
from page_samples import LONG, described

from mghft.pipeline.exports.preview import PreviewOptions, write_preview
from mghft.pipeline.runs.shards import read_descriptions, shard_paths, write_shard

COUNT = 1240
ATTACK = "<script>document.title = 'attacked'</script><img src=x onerror=\"document.title = 'attacked'\">"
ALL = PreviewOptions(everything=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """1,240 stickers of five shards and their corpus; the last but one attacks in each of its texts."""
    folder, data = described(tmp_path_factory.mktemp("many"), COUNT)
    path = shard_paths(folder)[-1]
    rows = read_descriptions(folder).to_pylist()[-(COUNT % 256) :]
    rows[-2].update(dict.fromkeys(("content", "label_name", "sticker_id"), ATTACK), status="ok", error=None)
    fingerprint = json.loads((folder / "manifest.json").read_text())["fingerprint"]
    write_shard(path, rows, fingerprint)
    return folder, data


@pytest.fixture(scope="module")
def page(run: tuple[Path, Path]) -> Path:
    return write_preview(run[0], ALL, data=run[1]).path


def content(path: Path) -> object:
    name, token, text = re.fullmatch(
        r'/\* mghft preview \*/previewFile\("([\w-]+)","(\w+)",(.*)\);\n', path.read_text("ascii"), re.S
    ).groups()
    assert name == path.stem and len(token) == 16
    return json.loads(text)


def test_pieces_hold_every_sticker_in_order(run: tuple[Path, Path], page: Path) -> None:
    files = page.with_name("preview_files")
    pictures = sorted(files.glob("pictures-*"), key=lambda path: int(path.stem.split("-")[1]))
    texts = sorted(files.glob("texts-*"), key=lambda path: int(path.stem.split("-")[1]))
    assert [len(content(path)) for path in texts] == [500, 500, 240]
    assert [len(content(path)) for path in pictures] == [100] * 12 + [40]
    ids = [re.search(r'data-id="([^"]*)"', card)[1] for path in texts for card in content(path)]
    wanted = read_descriptions(run[0]).column("sticker_id").to_pylist()
    assert ids[:-2] == wanted[:-2] and "&lt;script&gt;" in ids[-2]
    shown = [picture for path in pictures for picture in content(path)]
    # The picture of the sixth sticker is gone, and each 40th has its picture.
    assert [number for number, picture in enumerate(shown) if picture is None] == list(range(6, COUNT, 40))
    index = content(files / "index.js")
    assert [index["split"]["names"][place] for place in index["split"]["of"][:6]] == [
        "test",
        *["train"] * 4,
        "test",
    ]
    assert len(index["label"]["of"]) == COUNT and "(none)" in index["label"]["names"]
    text = page.read_text(encoding="utf-8")
    assert "<article" not in text and len(text) < 60_000


def test_size_on_the_last_line_is_that_of_page_and_files(run: tuple[Path, Path], tmp_path: Path) -> None:
    written = write_preview(run[0], ALL, out=tmp_path / "p.html")
    assert written.files == tmp_path / "p_files" and written.shown == COUNT
    assert written.bytes == sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert not list(written.files.glob("pictures-*"))


def test_an_older_preview_is_replaced_whole_and_a_folder_of_others_never(
    run: tuple[Path, Path], tmp_path: Path
) -> None:
    page = tmp_path / "p.html"
    write_preview(run[0], ALL, data=run[1], out=page)
    write_preview(run[0], PreviewOptions(limit=600), out=page)
    assert sorted(path.name for path in (tmp_path / "p_files").iterdir()) == [
        "index.js",
        "texts-0.js",
        "texts-1.js",
    ]
    write_preview(run[0], out=page)
    assert [path.name for path in tmp_path.iterdir()] == ["p.html"]
    (tmp_path / "p_files").mkdir()
    (tmp_path / "p_files" / "index.js").write_text("mine", encoding="utf-8")
    with pytest.raises(ValueError, match="p_files already exists and is no preview's"):
        write_preview(run[0], ALL, out=page)
    assert (tmp_path / "p_files" / "index.js").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("options", [{"limit": 5}, {"sample": 5}])
def test_everything_and_a_number_contradict_each_other(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="--all takes every sticker, so leave --"):
        PreviewOptions(everything=True, **options)


def opened(page: Path, tmp_path: Path, fragment: str = "") -> tuple[list[str], str]:
    """Ids of the stickers that are drawn, and all of the page."""
    dom = chromium(page, tmp_path, "--dump-dom", fragment=fragment, budget=20_000)
    return re.findall(r'<article [^>]*data-id="([^"]*)"', dom), dom


def ids(*numbers: int) -> list[str]:
    named = {number: f"images/{number:04d}.png" for number in range(40)} | {4: f"{LONG}.png"}
    return [named.get(number, f"copy/{number:06d}.png") for number in numbers]


@needs_chromium
@pytest.mark.parametrize(
    ("fragment", "said", "wanted"),
    [
        ("", "1240 of 1240 fit", ids(*range(100))),
        ("#page=13", "1240 of 1240 fit", None),
        ("#page=99", "1240 of 1240 fit", None),
        # Failed is each eighth from the second on, but the attack is ok.
        ("#status=failed", "155 of 1240 fit", ids(*range(1, 800, 8))),
        ("#status=failed&page=2", "155 of 1240 fit", ids(*range(801, 1240, 8))),
        ("#q=number%2039%2C&label=dark", "27 of 1240 shown", None),
        ("#q=COPY%2F001100", "1 of 1240 shown", ids(1100)),
        ("#q=tokens%20written", "0 of 1240 shown", []),
        ("#label=nobody", "0 of 1240 shown", []),
    ],
)
def test_all_stickers_are_filtered_and_searched(
    page: Path, tmp_path: Path, fragment: str, said: str, wanted: list[str] | None
) -> None:
    found, dom = opened(page, tmp_path, fragment)
    assert f">{said}</output>" in dom
    if wanted is not None:
        assert found == wanted
    elif fragment.startswith("#page"):
        assert len(found) == 40 and found[-1] == ids(1239)[0]


@needs_chromium
def test_pictures_are_loaded_where_they_are_seen(page: Path, tmp_path: Path) -> None:
    # A browser on a busy machine may be asked before it has drawn the first picture.
    for _ in range(5):
        _, dom = opened(page, tmp_path)
        pictures = re.findall(r"<img [^>]*>", dom)
        assert len(pictures) == 97
        loaded = [number for number, tag in enumerate(pictures) if 'src="data:image/webp' in tag]
        if loaded:
            break
    assert loaded and loaded == list(range(len(loaded))) and len(loaded) < 60


@needs_chromium
def test_hostile_texts_are_found_and_not_run(page: Path, tmp_path: Path) -> None:
    found, dom = opened(page, tmp_path, "#q=" + quote("<script>document.title"))
    assert len(found) == 1 and "1 of 1240 shown" in dom
    assert "<title>Descriptions of squares by interpreter</title>" in dom
    assert len(re.findall(r"<script\b", dom)) == 1


@needs_chromium
def test_a_script_that_got_in_is_stopped_although_files_are_loaded(page: Path, tmp_path: Path) -> None:
    copy = tmp_path / "preview.html"
    shutil.copytree(page.with_name("preview_files"), tmp_path / "preview_files")
    copy.write_text(page.read_text(encoding="utf-8").replace("</header>", f"{ATTACK}</header>"), "utf-8")
    found, dom = opened(copy, tmp_path)
    assert len(found) == 100 and "<title>attacked" not in dom


@needs_chromium
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda files: shutil.rmtree(files), "it is not beside the page"),
        (lambda files: (files / "index.js").write_text("nothing"), "it is damaged"),
        (
            lambda files: (files / "texts-0.js").write_text(
                re.sub(r'"\w{16}"', '"0000000000000000"', (files / "texts-0.js").read_text("ascii"), count=1)
            ),
            "it was written anew, so reload the page",
        ),
    ],
)
def test_files_that_are_gone_or_of_another_page_are_said(
    page: Path, tmp_path: Path, harm: object, said: str
) -> None:
    copy = tmp_path / "preview.html"
    shutil.copy(page, copy)
    shutil.copytree(page.with_name("preview_files"), tmp_path / "preview_files")
    harm(tmp_path / "preview_files")
    found, dom = opened(copy, tmp_path)
    assert not found and "The folder preview_files belongs to this page" in dom and said in dom


@needs_chromium
def test_keys_turn_pages(page: Path, tmp_path: Path) -> None:
    """A copy without policy carries a script that presses keys and writes to the title where it is."""
    keys = """<script>addEventListener("load", async () => {
        const seen = [], wait = (time) => new Promise((done) => setTimeout(done, time));
        await wait(500);
        for (const key of ["n", "n", "j", "p"]) {
            document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
            await wait(500);
            seen.push(document.getElementById("page").value);
        }
        seen.push(location.hash, document.querySelector("article").dataset.id);
        document.title = seen.join(" ");
    });</script>"""
    copy = tmp_path / "preview.html"
    shutil.copytree(page.with_name("preview_files"), tmp_path / "preview_files")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    copy.write_text(text.replace("</body>", f"{keys}</body>"), encoding="utf-8")
    _, dom = opened(copy, tmp_path)
    assert re.search(r"<title>(.*?)</title>", dom)[1] == f"2 3 3 2 #page=2 {ids(100)[0]}"
