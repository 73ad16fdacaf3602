"""Trainings with a tracker in processes of their own, watched, and what the tracker wrote."""

from __future__ import annotations

import atexit
import json
import math
import multiprocessing
import os
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import _SERVER

from mghft.train.config import TrainConfig, build_config
from mghft.train.runs import tracking
from mghft.train.trainer import loop
from mghft.train.trainer.loop import Trainer
from mghft.train.trainer.state import loss_values
from mghft.train.trainer.trainer import train

# Files of W&B: blocks of 32 KiB, in them records with a checksum, a length and a kind (of LevelDB's logs).
_BLOCK, _RECORD = 2**15, struct.Struct("<IHB")


@dataclass(frozen=True)
class Watched:
    """What a training left beside its run folder."""

    code: int
    output: str
    error: str
    network: str
    steps: dict[int, float]


def _child(fields: str, folder: Path, moment: str, step: int, environment: dict[str, str]) -> None:
    """Trains, every step logged; when `step` is reached, does what `moment` says."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        del os.environ[name]
    os.environ.update(environment)
    multiprocessing.set_start_method("fork", force=True)
    _watch_the_network(folder / "network")
    rank = os.environ.get("RANK", "0")
    sys.stdout.flush()
    shown = os.open(folder / f"output-{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(shown, 1)
    os.dup2(shown, 2)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 - as long as the process
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    loop.draw_training = lambda *_: None
    tracking.EVERY = 1
    original = Trainer.train_step

    def train_step(self: Trainer, images: Any, indices: Any) -> dict[str, float]:
        if self.state.step == step and moment == "interrupt":
            signal.raise_signal(signal.SIGINT)
        if self.state.step == step and moment == "nan":
            loop.loss_values = lambda *given: {**loss_values(*given), "loss": math.nan}
        if self.state.step == step and moment == "lose the service":
            import psutil

            for child in psutil.Process().children(recursive=True):
                if "wandb-core" in child.name():
                    child.kill()
        losses = original(self, images, indices)
        with (folder / "steps").open("a") as stream:
            stream.write(json.dumps([self.state.step + 1, losses["loss"]]) + "\n")
        return losses

    Trainer.train_step = train_step  # type: ignore[method-assign]
    try:
        train(build_config(json.loads(fields)))
    except BaseException as error:
        (folder / f"error-{rank}").write_text(str(error) or type(error).__name__)
        raise SystemExit(1) from None
    finally:
        # A process of multiprocessing ends without them; a command does not.
        atexit._run_exitfuncs()


def _watch_the_network(log: Path) -> None:
    """Writes every name looked up and every address of the network connected or bound to by Python."""
    log.touch()

    def note(event: str, arguments: Any) -> None:
        if event == "socket.getaddrinfo" or (
            event in ("socket.connect", "socket.bind") and isinstance(arguments[1], tuple)
        ):
            with log.open("a") as stream:
                stream.write(f"{event} {arguments[:2]}\n")

    sys.addaudithook(note)


def run_watched(
    config: TrainConfig, folder: Path, moment: str = "", step: int = 0, *, ranks: int = 1, **environment: str
) -> Watched:
    """Trains in `ranks` processes with a home of their own."""
    folder.mkdir(parents=True)
    (folder / "home").mkdir()
    environment = {"HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", **environment}
    children = []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    for rank in range(ranks):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
        place |= {"LOCAL_WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        own = environment | (place | {"GLOO_SOCKET_IFNAME": "lo"} if ranks > 1 else {})
        arguments = (config.model_dump_json(), folder, moment, step, own)
        children.append(_SERVER.Process(target=_child, args=arguments))
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    codes = {child.exitcode for child in children}
    for child in children:
        child.kill()
    errors = [file.read_text() for file in sorted(folder.glob("error-*"))]
    return Watched(
        code=max(1 if code is None else abs(code) for code in codes),
        output="".join(file.read_text() for file in sorted(folder.glob("output-*"))),
        error=errors[0] if errors else "",
        network=(folder / "network").read_text(),
        steps=dict(json.loads(line) for line in (folder / "steps").read_text().splitlines())
        if (folder / "steps").exists()
        else {},
    )


def points(name: str, run: Path) -> list[tuple[int, dict[str, float]]]:
    """Step and values of all points in the order they were written; of one step together."""
    if name == "wandb":
        found = [point for file in wandb_files(run) for point in _wandb_points(file)]
    else:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        log = EventAccumulator(str(run / "tracker" / "mghft")).Reload()
        scalars = [(tag, event) for tag in log.Tags()["scalars"] for event in log.Scalars(tag)]
        found = sorted(((event.step, {tag: event.value}) for tag, event in scalars), key=lambda p: p[0])
    together: list[tuple[int, dict[str, float]]] = []
    for step, values in found:
        if together and together[-1][0] == step and not together[-1][1].keys() & values.keys():
            together[-1][1].update(values)
        else:
            together.append((step, dict(values)))
    return together


def configuration(name: str, run: Path) -> dict[str, Any]:
    """What the tracker knows of the configuration."""
    if name == "wandb":
        updates = [item for record in wandb_records(wandb_files(run)[-1]) for item in record.config.update]
        return {item.key: json.loads(item.value_json) for item in updates}
    import yaml

    files = sorted((run / "tracker" / "mghft").glob("*/hparams.yml"))
    return yaml.safe_load(files[-1].read_text())


def wandb_files(run: Path) -> list[Path]:
    """One for every start of the run, in order."""
    return sorted(
        (run / "tracker" / "wandb").glob("offline-run-*/run-*.wandb"), key=lambda f: f.stat().st_mtime
    )


def wandb_records(file: Path) -> Iterator[Any]:
    """Records of a .wandb file."""
    from wandb.proto import wandb_internal_pb2

    data, at, whole = file.read_bytes(), 7, b""
    assert data.startswith(b":W&B")
    while at + _RECORD.size <= len(data):
        if _BLOCK - at % _BLOCK < _RECORD.size:
            at += _BLOCK - at % _BLOCK
            continue
        _, length, kind = _RECORD.unpack_from(data, at)
        whole += data[at + _RECORD.size : at + _RECORD.size + length]
        at += _RECORD.size + length
        # Whole, or the last of several parts.
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def _wandb_points(file: Path) -> Iterator[tuple[int, dict[str, float]]]:
    for record in wandb_records(file):
        if record.HasField("history"):
            values = {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
            step = values["_step"]
            yield step, {key: value for key, value in values.items() if not key.startswith("_")}
