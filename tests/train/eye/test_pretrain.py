"""Pretraining of the eye: what it learns from, and that a run cut short goes on to the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import eye_art
import pytest
import torch

from mghft.pipeline.corpora.emoji import art
from mghft.pipeline.corpora.emoji.augment import augment, halved, look, strength, to_ink
from mghft.train.eye.pretrain import Options, Pretraining, pretrain, rate

# Killed in the middle of writing its second checkpoint.
KILLED = """
import os, signal, sys, torch
from pathlib import Path
import eye_art
from mghft.train.eye.pretrain import pretrain
torch.set_num_threads(1)
eye_art.offline(setattr)
save, calls = torch.save, []
def killed(content, file):
    calls.append(file)
    if len(calls) == 2:
        file.write(b"half")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    save(content, file)
torch.save = killed
pretrain(eye_art.pretraining(), Path(sys.argv[1]), {}, checkpoint_every=2)
"""


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    eye_art.offline(monkeypatch.setattr)


def _bytes(out: Path) -> bytes:
    return (out / "eye" / "model.safetensors").read_bytes()


@pytest.fixture
def undisturbed(tmp_path: Path) -> Path:
    pretrain(eye_art.pretraining(), tmp_path / "undisturbed", {}, checkpoint_every=100)
    return tmp_path / "undisturbed"


def test_no_emotion_label_is_read(undisturbed: Path) -> None:
    """The table of these tests raises when anything but hexcode, name and icons of an emoji is read."""
    for name in eye_art.LABELS:
        with pytest.raises(AssertionError, match=f"{name} of the corpus' table was read"):
            getattr(eye_art.TABLE[0], name)
    assert (undisturbed / "eye" / "model.safetensors").exists()


def test_stopped_run_resumes_to_the_same_bytes(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, advance = tmp_path / "stopped", Pretraining.advance

    def stop_at_five(self: Pretraining) -> float:
        if self.step == 5:
            raise KeyboardInterrupt
        return advance(self)

    with monkeypatch.context() as patch:
        patch.setattr(Pretraining, "advance", stop_at_five)
        with pytest.raises(KeyboardInterrupt):
            pretrain(eye_art.pretraining(), out, {}, checkpoint_every=2)
    pretrain(eye_art.pretraining(), out, {}, checkpoint_every=2)
    assert _bytes(out) == _bytes(undisturbed)
    states = [torch.load(run / "checkpoint.pt", weights_only=True) for run in (out, undisturbed)]
    assert states[0]["step"] == states[1]["step"] == 7
    assert all(torch.equal(t, states[1]["weights"][name]) for name, t in states[0]["weights"].items())


def test_run_killed_while_it_writes_resumes_to_the_same_bytes(undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    path = os.pathsep.join([str(Path(eye_art.__file__).parent), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(out)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == -9, done.stderr
    assert torch.load(out / "checkpoint.pt", weights_only=True)["step"] == 2
    assert not (out / "eye").exists()
    pretrain(eye_art.pretraining(), out, {}, checkpoint_every=2)
    assert _bytes(out) == _bytes(undisturbed)


def test_other_options_or_a_damaged_file_are_refused(undisturbed: Path) -> None:
    with pytest.raises(ValueError, match="is of a run with another seed: give the same options"):
        pretrain(eye_art.pretraining(seed=1), undisturbed, {})
    (undisturbed / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is damaged: delete it to begin again"):
        pretrain(eye_art.pretraining(), undisturbed, {})


def test_progress_and_what_is_named_right_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = eye_art.pretraining(steps=2)
    monitor = {"three": art.load_monitor("one", run.art.known)}
    pretrain(run, tmp_path / "run", monitor, monitor_every=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("step 1: named right among 5: three ")]


def test_few_drawings_are_learnt() -> None:
    run = eye_art.pretraining(steps=60, batch=8)
    losses = [run.advance() for _ in range(60)]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_icons_are_found_by_table_label_and_shortcode_and_none_twice() -> None:
    found = art.find_icons(eye_art.icons("one"), art.load_known(), eye_art.TABLE)  # type: ignore[arg-type]
    assert found == {
        "1F600": "smile",  # the table's, not the icon of its label
        "1F34E": "red-apple",
        "1F34F": "green-apple",
        "1F621": "rage",
        "1F449": "point-right",
        "0031": "1",  # "+1" is not taken for it
    }


def test_flags_components_and_blank_drawings_are_left_out() -> None:
    drawings = art.load_art(("one",))
    assert [words.split(":")[0] for words in drawings.words] == [
        "grinning face",
        "enraged face",
        "backhand index pointing right",
        "red apple",
        "keycap 1",
    ]
    assert drawings.counts == {"one": 5}
    assert sorted(drawings.flippable.tolist()) == [False, True, True, True, True]


def test_nine_of_ten_drawings_are_faces_and_people() -> None:
    weights = art.batch_weights([3.0, 1.5, 0.0, 0.0])
    assert weights.tolist() == pytest.approx([0.6, 0.3, 0.05, 0.05])


def test_augmentation_of_no_strength_is_the_plain_look() -> None:
    ink = halved(to_ink(art.load_art(("one",)).pictures))
    generator = torch.Generator().manual_seed(0)
    flippable = torch.ones(len(ink), dtype=torch.bool)
    assert torch.allclose(augment(ink, flippable, 0.0, 32, generator), look(ink, 32), atol=1e-6)


def test_augmented_ink_stays_ink_and_is_cut_out_somewhere() -> None:
    ink = torch.ones(200, 3, 36, 36)
    out = augment(ink, torch.ones(200, dtype=torch.bool), 0.6, 32, torch.Generator().manual_seed(0))
    assert out.shape == (200, 3, 32, 32) and out.min() == 0 and out.max() == 1
    inner = out[:, 0, 10:22, 10:22]
    assert 0.02 < (inner == 0).any(-1).any(-1).float().mean() < 0.18


def test_schedules_of_rate_and_strength() -> None:
    options = Options(steps=100, lr=1.0)
    assert rate(0, options) == 0.2 and rate(4, options) == rate(5, options) == 1.0
    assert rate(99, options) == pytest.approx(0.01)
    assert [round(strength(step, 100), 3) for step in (0, 30, 60, 99)] == [0.25, 0.425, 0.6, 0.6]
