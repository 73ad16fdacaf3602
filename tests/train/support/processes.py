"""Trainings in processes of their own: killed at a moment, or several together."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from mghft.train.config import TrainConfig, build_config
from mghft.train.runs import checkpoints
from mghft.train.runs import folder as run_folder
from mghft.train.trainer import loop
from mghft.train.trainer.loop import Trainer
from mghft.train.trainer.trainer import train

# A fork of a process that has imported torch once: a child is up in a tenth of a second.
_SERVER = multiprocessing.get_context("forkserver")
# The server knows only what is installed, not the folders that pytest adds.
_SERVER.set_forkserver_preload(
    [
        "mghft.train.trainer.trainer",
        "transformers.models.bert.modeling_bert",
        "transformers.models.auto.modeling_auto",
        "transformers.models.bert.tokenization_bert",
        "transformers.models.auto.tokenization_auto",
    ]
)


def _die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _child(
    fields: str, log: Path, moment: str, number: int, environment: dict[str, str] | None = None
) -> None:
    """Trains; writes what every step saw to `log`; dies when a moment comes for the `number`-th time."""
    os.environ |= environment or {}
    # The data loader's workers are forked as in any training; a child of the server would ask another server.
    multiprocessing.set_start_method("fork", force=True)
    original_step, left = Trainer.train_step, [number]

    def count_down(*_: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            _die()

    def train_step(self: Trainer, images: Any, indices: Any) -> dict[str, float]:
        if environment is not None:
            held = sum(_local(value).numel() for value in self.model.parameters())
            (log.parent / f"held-{environment['RANK']}").write_text(str(held))
        if moment == "step" and self.state.step == number:
            _die()
        seen = hashlib.sha256(images.numpy().tobytes()).hexdigest()
        losses = original_step(self, images, indices)
        with log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps([self.state.step, indices.tolist(), seen, losses]) + "\n")
        return losses

    def around(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def called(*arguments: Any, **named: Any) -> Any:
            count_down()
            return function(*arguments, **named)

        setattr(owner, name, called)

    loop.draw_training = lambda *_: None
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
    config = build_config(json.loads(fields))
    if environment is not None:
        _note_writes(config.out, log.parent / f"written-{environment['RANK']}")
    try:
        train(config)
    except BaseException as error:
        (log.parent / f"error-{os.environ.get('RANK', 0)}").write_text(repr(error))
        raise


def _local(value: torch.Tensor) -> torch.Tensor:
    """What this process holds of a parameter."""
    return value.to_local() if isinstance(value, DTensor) else value


def _note_writes(folder: Path, log: Path) -> None:
    """Writes every path below the folder that this process opens to write to."""
    log.touch()

    def note(event: str, arguments: Any) -> None:
        if event == "open" and isinstance(arguments[0], str) and isinstance(arguments[1], str):
            if arguments[0].startswith(f"{folder}/") and set(arguments[1]) & set("wax+"):
                with log.open("a") as stream:
                    stream.write(arguments[0] + "\n")
        elif event == "os.rename" and str(arguments[1]).startswith(f"{folder}/"):
            with log.open("a") as stream:
                stream.write(f"{arguments[1]}\n")

    sys.addaudithook(note)


def run_apart(config: TrainConfig, log: Path, moment: str = "", number: int = 0) -> int:
    """Exit code of a training in a process of its own; -9 when it was killed."""
    child = _SERVER.Process(target=_child, args=(config.model_dump_json(), log, moment, number))
    child.start()
    child.join(120)
    assert child.exitcode is not None
    return child.exitcode


def run_together(
    config: TrainConfig, folder: Path, moment: str = "", number: int = 0, **more: str
) -> list[int]:
    """Exit codes of two processes that train together; a moment is that of the second one.

    Args:
        more: of the environment.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(2):
        environment = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
        environment |= {"OMP_NUM_THREADS": "1", **more}
        dies = (moment, number) if rank else ("", 0)
        log = folder / f"rank-{rank}.log"
        arguments = (config.model_dump_json(), log, *dies, environment)
        children.append(_SERVER.Process(target=_child, args=arguments))
    for child in children:
        child.start()
    for child in children:
        child.join(150)
    codes = [child.exitcode for child in children]
    for child in children:
        child.kill()
    assert None not in codes, "a process hangs"
    return [code or 0 for code in codes]


def steps_seen(log: Path) -> dict[int, Any]:
    """What every step saw and lost, by its number; a step run twice must have seen the same twice."""
    seen: dict[int, Any] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        step, *rest = json.loads(line)
        assert seen.setdefault(step, rest) == rest
    return seen
