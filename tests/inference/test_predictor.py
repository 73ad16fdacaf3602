"""The predictor: as `mghft eval` to 1e-5, from anything that is a picture, one failed picture alone."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image
from squares import LABELS, World

from mghft.inference import Prediction, Predictor, find_weights
from mghft.inference.saved_views import SavedViews
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.describe.live import LiveViews
from mghft.pipeline.runs.shards import write_shard
from mghft.pipeline.views import VIEWS
from mghft.train.config import build_config
from mghft.train.evaluation.calibration import apply_temperature
from mghft.train.evaluation.evaluate import evaluate
from mghft.train.evaluation.trained_runs import build_eval_config
from mghft.train.trainer.trainer import train

SPLITS = ("train", "validation", "test")


def rows(found: Sequence[Prediction]) -> NDArray[np.float64]:
    return np.array([list(one.probabilities.values()) for one in found])


def judged(run: Path, out: Path, system: str) -> dict[str, list[float]]:
    """Return what `mghft eval` says of every sticker, by id."""
    evaluate(build_eval_config({"runs": (run,), "out": out, "splits": SPLITS, "workers": 0}))
    table = pq.read_table(out / "predictions.parquet").to_pylist()
    return {
        row["id"]: list(row["probabilities"].values()) for row in table if row["system"].startswith(system)
    }


def views_of(world: World) -> dict[str, dict[str, str]]:
    return {row["path"]: {view: f"{view} is {row['label']}" for view in VIEWS} for row in world.rows}


def test_predictions_are_those_of_eval(world: World, run: Path, tmp_path: Path) -> None:
    expected = judged(run, tmp_path, "MGHFT")
    views = views_of(world)
    ids = list(expected)
    predictor = Predictor.from_pretrained(run, batch_size=7)
    found = predictor([world.data / id_ for id_ in ids], [views[id_] for id_ in ids], calibrated=False)
    assert len(ids) == 45
    assert np.abs(rows(found) - np.array([expected[id_] for id_ in ids])).max() < 1e-5
    assert [one.label for one in found] == [LABELS[int(np.argmax(expected[id_]))] for id_ in ids]
    assert found[0].views == views[ids[0]] and found[0].missing_views == () and found[0].seconds > 0


@pytest.mark.parametrize(
    "fields",
    [
        {"use_text": False, "descriptions": None},
        {"view_texts": "whole"},
        {"tune_text_encoder": True},
        {"network": "pvt-bert", "descriptions": None, "model": {"preset": "tiny", "image_size": 32}},
        {"network": "tgca-pvt", "descriptions": None, "model": {"preset": "tiny", "image_size": 32}},
    ],
    ids=["no-text", "whole", "tuned", "pvt-bert", "tgca-pvt"],
)
def test_every_kind_of_network_predicts_as_it_is_judged(
    world: World, tmp_path: Path, fields: dict[str, Any]
) -> None:
    options = {**world.fields("unused", **fields, epochs=1, warmup_epochs=0), "out": tmp_path / "run"}
    run = train(build_config(options))
    names = {"pvt-bert": "PVT", "tgca-pvt": "TGCA"}
    expected = judged(run, tmp_path / "report", names.get(fields.get("network", ""), "MGHFT"))
    corpus = load_corpus(load_card(str(world.card)), world.data)
    views = views_of(world)
    predictor = Predictor.from_pretrained(run)
    given = [views[one.id] for one in corpus.stickers] if predictor.views else None
    found = predictor(corpus.stickers, given, root=world.data, calibrated=False)
    wanted = np.array([expected[one.id] for one in corpus.stickers])
    assert np.abs(rows(found) - wanted).max() < 1e-5


def test_probabilities_are_calibrated_by_the_temperature_beside_the_weights(world: World, run: Path) -> None:
    temperature = json.loads((run / "best" / "inference.json").read_text())["temperature"]
    predictor = Predictor.from_pretrained(run / "best")
    paths = [world.data / row["path"] for row in world.rows[:5]]
    raw, calibrated = rows(predictor(paths, calibrated=False)), rows(predictor(paths))
    assert calibrated == pytest.approx(apply_temperature(raw, temperature))
    assert np.abs(raw - calibrated).max() > 1e-6 and (raw.argmax(1) == calibrated.argmax(1)).all()


def test_one_picture_in_every_form_is_one_prediction(world: World, run: Path) -> None:
    path = world.data / world.rows[3]["path"]
    image = Image.open(path)
    link = world.folder / "link.png"
    link.symlink_to(path)
    predictor = Predictor.from_pretrained(run)
    corpus = load_corpus(load_card(str(world.card)), world.data)
    (sticker,) = [one for one in corpus.stickers if one.id == world.rows[3]["path"]]
    sources: list[Any] = [path, str(path), path.read_bytes(), image, sticker, link]
    found = predictor(sources, root=world.data)
    assert np.abs(rows(found) - rows(found)[0]).max() < 1e-6
    assert [one.name for one in found] == [
        str(path), str(path), "image 3", "image 4", world.rows[3]["path"], str(link)
    ]  # fmt: skip


def test_transparency_rotation_and_animation_are_those_of_training(run: Path, tmp_path: Path) -> None:
    shape = Image.new("RGBA", (60, 40), (0, 0, 0, 0))
    shape.paste((200, 30, 40, 255), (5, 5, 30, 20))
    shape.save(tmp_path / "clear.png")
    white = Image.new("RGB", shape.size, "white")
    white.paste(shape, mask=shape)
    white.save(tmp_path / "white.png")
    shape.save(
        tmp_path / "moving.webp", save_all=True, append_images=[Image.new("RGBA", (60, 40))], lossless=True
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    white.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    names = ("clear.png", "white.png", "moving.webp", "turned.png")
    predictor = Predictor.from_pretrained(run)
    found = rows(predictor([tmp_path / name for name in names]))
    assert np.abs(found - found[1]).max() < 1e-6
    opened = rows(predictor([Image.open(tmp_path / name) for name in names]))
    assert np.abs(opened - found).max() < 1e-6


def test_bad_pictures_are_failed_rows_and_cost_no_other(world: World, run: Path, tmp_path: Path) -> None:
    good = world.data / world.rows[0]["path"]
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "half.png").write_bytes(good.read_bytes()[:200])
    sources = [tmp_path / "text.png", good, tmp_path / "gone.png", tmp_path / "half.png", tmp_path, b""]
    predictor = Predictor.from_pretrained(run)
    found = predictor(sources)
    assert [one.label is None for one in found] == [True, False, True, True, True, True]
    assert rows([found[1]]) == pytest.approx(rows(predictor([good])))
    assert found[2].error == "the file is missing" and found[0].probabilities == {}
    assert "damaged" in (found[3].error or "")


class Interpreter:
    """Says of every picture how many bytes it has; of one that begins otherwise than a PNG nothing."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.closed = False

    def describe(
        self, pictures: Sequence[bytes], texts: Sequence[str | None] | None = None
    ) -> list[LiveViews]:
        self.asked.append(len(pictures))
        return [
            LiveViews({view: f"{view} is warm" for view in VIEWS})
            if one.startswith(b"\x89PNG")
            else LiveViews({}, "refused")
            for one in pictures
        ]

    def close(self) -> None:
        self.closed = True


def test_interpreter_is_asked_for_what_has_no_views(world: World, run: Path) -> None:
    path = world.data / world.rows[0]["path"]
    jpeg = io.BytesIO()
    Image.open(path).save(jpeg, "JPEG")
    own = {"content": "content is cold", "style": None, "intention": ""}
    interpreter = Interpreter()
    with Predictor.from_pretrained(run, interpreter) as predictor:
        found = predictor([path, path, jpeg.getvalue(), b"broken"], [None, own, None, None])
        alone = Predictor.from_pretrained(run)([jpeg.getvalue()])
    # One batch of the two that can be read and have no views.
    assert interpreter.asked == [2] and interpreter.closed
    assert found[0].views == {view: f"{view} is warm" for view in VIEWS}
    assert found[1].views == {"content": "content is cold"}
    assert found[1].missing_views == ("style", "intention", "details")
    assert found[2].describing_error == "refused" and found[2].missing_views == VIEWS
    assert rows([found[2]]) == pytest.approx(rows(alone))
    assert found[3].error is not None
    assert np.abs(rows([found[0]]) - rows([found[1]])).max() > 1e-6


def test_views_of_a_run_are_found_by_the_bytes_of_the_picture(
    world: World, run: Path, tmp_path: Path
) -> None:
    import hashlib

    path = world.data / world.rows[0]["path"]
    other = world.data / world.rows[1]["path"]
    described = [
        {
            "sticker_id": f"{n}",
            "path": f"{n}",
            "split": "all",
            "finish_reason": "stop",
            "image_sha256": digest,
        }
        | ({"status": "ok", **{view: f"{view} is green" for view in VIEWS}} if ok else {"status": "failed"})
        for n, (digest, ok) in enumerate(
            [
                (hashlib.sha256(path.read_bytes()).hexdigest(), False),
                (hashlib.sha256(path.read_bytes()).hexdigest(), True),
                (hashlib.sha256(other.read_bytes()).hexdigest(), False),
            ]
        )
    ]
    write_shard(tmp_path / "descriptions-00000.parquet", described, "x")
    renamed = tmp_path / "renamed.png"
    shutil.copy(path, renamed)
    saved = SavedViews(tmp_path)
    found = saved.describe([renamed.read_bytes(), other.read_bytes(), b"new"])
    assert found[0].views == {view: f"{view} is green" for view in VIEWS} and found[0].error is None
    assert "described without success" in (found[1].error or "")
    assert "has no description of this picture" in (found[2].error or "")
    with pytest.raises(ValueError, match="says no hashes of its pictures"):
        SavedViews(world.runs)


def test_overlay_shows_what_the_network_saw(world: World, run: Path) -> None:
    predictor = Predictor.from_pretrained(run)
    path = world.data / world.rows[0]["path"]
    drawn = predictor.overlay(path, dict.fromkeys(VIEWS, "content is cold"))
    assert drawn.size == (256, 256) and drawn.mode == "RGB"
    assert drawn.tobytes() != predictor.overlay(path).tobytes()
    with pytest.raises(ValueError, match="cannot be read"):
        predictor.overlay(b"none")


def test_slips_are_named(world: World, run: Path, blind: Path, tmp_path: Path) -> None:
    predictor = Predictor.from_pretrained(run)
    path = world.data / world.rows[0]["path"]
    with pytest.raises(ValueError, match="there is no view 'contents': did you mean content"):
        predictor([path], [{"contents": "x"}])
    with pytest.raises(ValueError, match="there are 1 stickers and 2 views"):
        predictor([path], [None, None])
    with pytest.raises(TypeError, match="pass root"):
        predictor(load_corpus(load_card(str(world.card)), world.data).stickers[:1])
    with pytest.raises(ValueError, match="reads no descriptions"):
        Predictor.from_pretrained(blind, "tiny-llava")
    with pytest.raises(ValueError, match="needs model and base_url"):
        Predictor.from_pretrained(run, "server")
    with pytest.raises(FileNotFoundError, match="does not exist: give a run folder"):
        find_weights(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="has no weights yet"):
        find_weights(tmp_path)
    bare = tmp_path / "bare"
    shutil.copytree(run / "best", bare)
    (bare / "inference.json").unlink()
    with pytest.raises(ValueError, match=r"has no inference\.json"):
        find_weights(bare)


def test_run_of_before_there_was_a_temperature_predicts_uncalibrated(
    world: World, run: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(run, old)
    (old / "best" / "inference.json").unlink()
    paths = [world.data / row["path"] for row in world.rows[:4]]
    predictor = Predictor.from_pretrained(old)
    assert "not calibrated" in predictor.notes[0]
    expected = rows(Predictor.from_pretrained(run)(paths, calibrated=False))
    assert rows(predictor(paths)) == pytest.approx(expected)


def test_another_text_encoder_is_refused(world: World, run: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    encoder = tmp_path / "encoder"
    shutil.copytree(world.encoder, encoder)
    tensors = load_file(encoder / "model.safetensors")
    name = next(iter(tensors))
    save_file({**tensors, name: tensors[name] + 1}, encoder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"is not the one that .* was trained with"):
        Predictor.from_pretrained(run, text_encoder=encoder)
    moved = tmp_path / "moved"
    shutil.copytree(world.encoder, moved)
    assert Predictor.from_pretrained(run, text_encoder=moved).views == VIEWS
