"""Trainings in processes of their own: killed at a moment, or several together."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

from train import checkpoints, run_folder
from train.config import TrainConfig, build_config
from train.loop import Trainer, train

# A fork of a process that has imported torch once: a child is up in a tenth of a second.
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["processes"])


def _die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _child(fields: str, log: Path, moment: str, number: int) -> None:
    """Trains; writes what every step saw to `log`; dies when a moment comes for the `number`-th time."""
    original_step, left = Trainer.train_step, [number]

    def count_down(*_: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            _die()

    def train_step(self: Trainer, images: Any, indices: Any) -> dict[str, float]:
        if moment == "step" and self.state["step"] == number:
            _die()
        seen = hashlib.sha256(images.numpy().tobytes()).hexdigest()
        losses = original_step(self, images, indices)
        with log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps([self.state["step"], indices.tolist(), seen, losses]) + "\n")
        return losses

    def around(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def called(*arguments: Any, **named: Any) -> Any:
            count_down()
            return function(*arguments, **named)

        setattr(owner, name, called)

    Trainer.train_step = train_step  # type: ignore[method-assign]
    places: dict[str, tuple[Any, str]] = {
        "torch.save": (checkpoints.torch, "save"),
        "rename": (Path, "rename"),
        "remove": (checkpoints, "remove_folder"),
        "metrics": (run_folder.RunFolder, "add_metrics"),
        "best": (run_folder.RunFolder, "write_best"),
        "finish": (run_folder.RunFolder, "finish"),
    }
    if moment in places:
        around(*places[moment])
    train(build_config(json.loads(fields)))


def run_apart(config: TrainConfig, log: Path, moment: str = "", number: int = 0) -> int:
    """Exit code of a training in a process of its own; -9 when it was killed."""
    child = _SERVER.Process(target=_child, args=(config.model_dump_json(), log, moment, number))
    child.start()
    child.join(120)
    assert child.exitcode is not None
    return child.exitcode


def steps_seen(log: Path) -> dict[int, Any]:
    """What every step saw and lost, by its number; a step run twice must have seen the same twice."""
    seen: dict[int, Any] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        step, *rest = json.loads(line)
        assert seen.setdefault(step, rest) == rest
    return seen
