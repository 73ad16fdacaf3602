"""Pictures replaced under the same names: a run of the earlier ones is not gone on with unasked."""

from __future__ import annotations

import pytest
from describe_bench import KnownEngine, config, make_corpus, problems, rows, run
from PIL import Image

from mghft.pipeline.runs import pictures
from mghft.pipeline.runs.pictures import described_hashes


def replace(card, numbers):
    """Other pictures under the names of earlier ones, as a second download numbers them."""
    for number in numbers:
        Image.new("RGB", (24, 24), (255, 255, number)).save(card.parent / "images" / f"{number:04d}.png")


@pytest.fixture
def card(tmp_path):
    return make_corpus(tmp_path / "data", 12)


def test_run_is_not_gone_on_with_on_other_pictures(card, tmp_path):
    run(config(card, tmp_path / "out", limit=8), KnownEngine())
    before = rows(tmp_path / "out")
    replace(card, (2, 5))
    engine = KnownEngine()
    with pytest.raises(
        ValueError, match=r"of 8 pictures compared .* 2 are others now, the first is of "
    ) as stop:
        run(config(card, tmp_path / "out"), engine)
    assert "'images/0002.png'" in str(stop.value) and "--allow-changed-images" in str(stop.value)
    assert engine.requests == 0 and rows(tmp_path / "out") == before


def test_it_goes_on_where_that_is_allowed(card, tmp_path):
    run(config(card, tmp_path / "out", limit=8), KnownEngine())
    replace(card, (2, 5))
    stats = run(config(card, tmp_path / "out", allow_changed_images=True), KnownEngine())
    assert (stats["rows"], stats["resumed"]) == (12, 8)
    assert "pictures of 2 stickers are not those that were described" in problems(tmp_path / "out", card)[0]


def test_finished_run_says_it_too(card, tmp_path):
    run(config(card, tmp_path / "out"), KnownEngine())
    replace(card, range(12))
    with pytest.raises(ValueError, match=r"of 12 pictures compared .* 12 are others now"):
        run(config(card, tmp_path / "out"), KnownEngine())


def test_picture_of_a_sticker_that_is_asked_about_again_may_be_another(card, tmp_path):
    failing = KnownEngine(
        lambda request, text: "no JSON" if request.key.sticker_id.endswith("0002.png") else text
    )
    run(config(card, tmp_path / "out"), failing)
    replace(card, (2,))
    stats = run(config(card, tmp_path / "out", retry_failed=True), KnownEngine())
    assert stats["ok"] == 12 and not problems(tmp_path / "out", card)


def test_same_pictures_go_on(card, tmp_path):
    run(config(card, tmp_path / "out", limit=8), KnownEngine())
    assert run(config(card, tmp_path / "out"), KnownEngine())["rows"] == 12


def test_of_a_large_run_a_sample_is_read(card, tmp_path, monkeypatch):
    run(config(card, tmp_path / "out"), KnownEngine())
    monkeypatch.setattr(pictures, "_LOOKED_AT", 4)
    replace(card, range(12))
    with pytest.raises(ValueError, match=r"of 4 pictures compared .* 4 are others now"):
        run(config(card, tmp_path / "out"), KnownEngine())


def test_hashes_of_a_run_are_those_of_the_files(card, tmp_path):
    import hashlib

    (card.parent / "images" / "0003.png").unlink()
    run(config(card, tmp_path / "out"), KnownEngine())
    found = described_hashes(tmp_path / "out")
    assert len(found) == 11 and "images/0003.png" not in found
    content = (card.parent / "images" / "0001.png").read_bytes()
    assert found["images/0001.png"] == hashlib.sha256(content).hexdigest()
