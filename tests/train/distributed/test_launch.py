"""The command itself with several processes: Ctrl-C, a killed process, `torchrun`, `accelerate launch`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from squares import World, metrics

from mghft.train.runs.checkpoints import checkpoint_paths

ROOT = Path(__file__).parents[3]
CONFIGURATIONS = ROOT / "docs" / "accelerate"
TORCHRUN = ["-m", "torch.distributed.run", "--nnodes", "1", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("starting"))


def start(
    world: World, out: str, *more: str, launcher: tuple[str, ...] = ("-m", "mghft"), **changes: Any
) -> subprocess.Popen[str]:
    fields = json.loads(world.config(out, **changes).model_dump_json())
    file = world.folder / f"{out}.yaml"
    file.write_text(
        yaml.safe_dump({name: fields[name] for name in fields if name not in ("recipe", "resume")})
    )
    return subprocess.Popen(
        [sys.executable, *launcher, "train", "--config", str(file), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


def finish(child: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and what was said, on stderr last."""
    said = "".join(child.communicate(timeout=250))
    return child.returncode, said


def wait_for(there: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 200
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ranks_of(child: subprocess.Popen[str]) -> dict[int, int]:
    """Rank -> pid of the processes that a `mghft` started."""
    found = {}
    for text in Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split():
        entries = Path(f"/proc/{text}/environ").read_bytes().split(b"\0")
        found |= {int(entry[5:]): int(text) for entry in entries if entry.startswith(b"RANK=")}
    return found


def test_killed_process_ends_the_run_with_a_sentence_and_ctrl_c_saves(world: World) -> None:
    """One run, for a start takes longer than all that follows: killed, resumed, stopped by Ctrl-C."""
    long = {"epochs": 4000, "checkpoint_every_steps": 1}
    run = world.folder / "long"
    child = start(world, "long", "--num-processes", "2", **long)
    wait_for(lambda: child.poll() is not None or checkpoint_paths(run))
    ranks = ranks_of(child)
    os.kill(ranks[1], signal.SIGKILL)
    code, said = finish(child)
    assert code == 1
    assert said.count("error:") == 1, said
    assert "error: process 1 of 2 was ended by SIGKILL, so all have ended" in said
    assert "Traceback" not in said
    assert not [pid for pid in ranks.values() if Path(f"/proc/{pid}").exists()]

    before = checkpoint_paths(run)[-1]
    child = start(world, "long", "--num-processes", "2", "--resume", **long)
    wait_for(lambda: child.poll() is not None or checkpoint_paths(run)[-1] > before)
    ranks = ranks_of(child)
    child.send_signal(signal.SIGINT)
    code, said = finish(child)
    assert code == 130, said
    assert "the same command goes on from there" in said
    assert not [pid for pid in ranks.values() if Path(f"/proc/{pid}").exists()]
    last = json.loads((checkpoint_paths(run)[-1] / "state.json").read_text())
    assert last["step"] == 2 * last["epoch"] + last["step_in_epoch"]


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def accelerate_launch(file: str, *more: str) -> tuple[str, ...]:
    launcher = ("-m", "accelerate.commands.launch", "--config_file", str(CONFIGURATIONS / file))
    return (*launcher, "--main_process_ip", "127.0.0.1", *more, "-m", "mghft")


def test_torchrun_starts_two_processes_of_one_run(world: World) -> None:
    place = ["--master-addr", "127.0.0.1", "--master-port", free_port()]
    launcher = (*TORCHRUN, *place, "-m", "mghft")
    code, said = finish(start(world, "launched", launcher=launcher, gather_negatives=True))
    assert code == 0, said
    identity = json.loads((world.folder / "launched" / "config.json").read_text())["identity"]
    assert identity["processes"] == 2
    assert [line["step"] for line in metrics(world.folder / "launched")] == [2, 4]


def test_accelerate_launch_starts_a_sharded_run_by_the_documented_file(world: World) -> None:
    launcher = accelerate_launch("fsdp.yaml", "--main_process_port", free_port())
    code, said = finish(start(world, "sharded", launcher=launcher, progress=True))
    assert code == 0, said
    assert "weights, gradients and optimizer lie in shards over 2 processes" in said
    assert [line["step"] for line in metrics(world.folder / "sharded")] == [2, 4]


def test_accelerate_launch_joins_two_machines_by_the_documented_file(world: World) -> None:
    """Two machines are two launchers here, each with one process."""
    more = ("--main_process_port", free_port(), "--num_processes", "2", "--machine_rank")
    launchers = [accelerate_launch("two-machines.yaml", *more, str(rank)) for rank in range(2)]
    children = [start(world, "machines", launcher=launcher) for launcher in launchers]
    for child in children:
        code, said = finish(child)
        assert code == 0, said
    identity = json.loads((world.folder / "machines" / "config.json").read_text())["identity"]
    assert identity["processes"] == 2
    assert [line["step"] for line in metrics(world.folder / "machines")] == [2, 4]


def test_mistake_of_the_user_is_told_once(world: World) -> None:
    code, said = finish(start(world, "nodata", "--num-processes", "2", data=world.folder / "nowhere"))
    assert code == 2
    assert said.count("error:") == 1 and "does not exist" in said
    assert not (world.folder / "nodata").exists()


def test_ctrl_c_at_the_command_line_saves_and_leaves(world: World) -> None:
    """Started with SIGINT ignored, as a shell starts its background jobs: the handler is the loop's own."""
    run = world.folder / "stopped"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child = start(world, "stopped", epochs=4000, checkpoint_every_epochs=3000)
    finally:
        signal.signal(signal.SIGINT, before)
    wait_for(lambda: child.poll() is not None or (run / "metrics.jsonl").exists())
    child.send_signal(signal.SIGINT)
    code, said = finish(child)
    assert code == 130
    assert said.strip().splitlines()[-1].startswith("stopped: finished work is kept")
    assert len(checkpoint_paths(run)) == 1
