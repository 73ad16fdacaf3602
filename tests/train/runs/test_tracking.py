"""TensorBoard and W&B: what they are told, that it stays here, and how a run's end reaches them."""

from __future__ import annotations

import json
import math
import os
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from squares import World, metrics
from tracked_runs import Watched, configuration, points, run_watched, wandb_files, wandb_records

from mghft.train.runs import tracking

KEY = "0123456789012345678901234567890123456789"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("tracked"))


@dataclass(frozen=True)
class Tracked:
    """A run that failed at its eleventh step, two after its checkpoint, and was resumed."""

    name: str
    run: Path
    failed: Watched
    resumed: Watched
    calls: int


@pytest.fixture(scope="module", params=["tensorboard", "wandb"])
def tracked(world: World, request: pytest.FixtureRequest) -> Tracked:
    name = request.param
    fields: dict[str, Any] = {"tracker": name, "epochs": 3, "checkpoint_every_epochs": 2, "progress": True}
    with Listener() as listener:
        # Whoever is logged in everywhere is no more online than others; a connection would end up here.
        reachable = {
            "WANDB_API_KEY": KEY,
            "WANDB_BASE_URL": listener.url,
            "WANDB_INIT_TIMEOUT": "5",
            "HTTPS_PROXY": listener.url,
            "HTTP_PROXY": listener.url,
        }
        logs = world.folder / f"{name}.logs"
        failed = run_watched(world.config(name, **fields), logs / "1", "nan", 10, **reachable)
        resumed = run_watched(world.config(name, resume=True, **fields), logs / "2", **reachable)
    assert (failed.code, resumed.code) == (1, 0), failed.error + resumed.error
    return Tracked(name, world.folder / name, failed, resumed, listener.calls)


class Listener:
    """Something that could be reached, hangs up on everybody, and counts them."""

    def __enter__(self) -> Listener:
        self.calls = 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self._hang_up)
        self.thread.start()
        return self

    def _hang_up(self) -> None:
        while True:
            try:
                self.socket.accept()[0].close()
            except OSError:
                return
            self.calls += 1

    def __exit__(self, *_: object) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


def expected(steps: dict[int, float], run: Path) -> list[tuple[int, float | None, float | None]]:
    """Step, its loss and the epoch's loss, as the loop itself knows them."""
    epochs = {line["step"]: line["loss"] for line in metrics(run)}
    return [(step, steps[step], epochs.get(step)) for step in sorted(steps)]


def losses(found: list[tuple[int, dict[str, float]]]) -> list[tuple[int, float | None, float | None]]:
    return [(step, values.get("step/loss"), values.get("epoch/loss")) for step, values in found]


def same(ours: list[Any], theirs: list[Any]) -> bool:
    """TensorBoard keeps 32 bits of a number."""
    return len(ours) == len(theirs) and all(
        a == b or (None not in (a, b) and math.isclose(a, b, rel_tol=1e-6))
        for mine, other in zip(ours, theirs, strict=True)
        for a, b in zip(mine, other, strict=True)
    )


def test_tracker_has_every_step_once_though_some_ran_twice(tracked: Tracked) -> None:
    found, steps = losses(points(tracked.name, tracked.run)), tracked.failed.steps | tracked.resumed.steps
    assert sorted(tracked.failed.steps) == [*range(1, 11)] and sorted(tracked.resumed.steps) == [
        *range(9, 13)
    ]
    if tracked.name == "wandb":
        # A file for every start; `wandb sync` reads them one after the other.
        first = [point for point in expected(steps, tracked.run) if point[0] <= 10]
        assert same(found[:10], first)
        found = found[10:]
        assert same(found, [point for point in expected(steps, tracked.run) if point[0] > 8])
    else:
        assert same(found, expected(steps, tracked.run))


def test_tracker_has_everything_of_every_epoch(tracked: Tracked) -> None:
    told = {step: values for step, values in points(tracked.name, tracked.run) if "epoch/loss" in values}
    lines = [json.loads(line) for line in (tracked.run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == sorted(told) == [4, 8, 12]
    for line in lines:
        values = {f"epoch/{key}": float(value) for key, value in line.items() if key != "step"}
        found = {key: value for key, value in told[line["step"]].items() if key.startswith("epoch/")}
        assert found == pytest.approx(values, rel=1e-6)


def test_tracker_has_the_configuration(tracked: Tracked) -> None:
    found = configuration(tracked.name, tracked.run)
    assert (found["lr"], found["epochs"], found["tracker"]) == (0.002, 3, tracked.name)
    assert found["model.embed_dims"] == "[8, 16, 40, 64]"
    assert found["clip_grad"] is not None and found["num_threads"] == 1


def test_terminal_shows_the_run_and_nothing_of_the_tracker(tracked: Tracked) -> None:
    first, second = (watched.output.splitlines() for watched in (tracked.failed, tracked.resumed))
    assert [line.partition("  ")[0] for line in first] == ["epoch 1/3", "epoch 2/3"]
    assert [line.partition("  ")[0] for line in second] == ["resumed at epoch 3, step 8", "epoch 3/3"]
    assert tracked.failed.error.startswith("the loss is nan at epoch 3, step 10: lower the learning rate")


def test_nothing_is_asked_and_nothing_listens(tracked: Tracked) -> None:
    assert (tracked.failed.network, tracked.resumed.network) == ("", "")
    assert tracked.calls == 0


def test_everything_lies_in_the_run_folder(tracked: Tracked, world: World) -> None:
    logs = world.folder / f"{tracked.name}.logs"
    assert not [path for path in logs.rglob("home/**/*") if tracked.name in path.name.lower()]


def test_run_goes_on_under_its_name_in_wandb(tracked: Tracked) -> None:
    if tracked.name != "wandb":
        return
    records = [[*wandb_records(file)] for file in wandb_files(tracked.run)]
    runs = [record.run for start in records for record in start if record.HasField("run")]
    identity = (tracked.run / "tracker" / "run_id").read_text()
    assert [run.run_id for run in runs] == [identity, identity]
    assert {run.display_name for run in runs} == {f"wandb-{identity}"}
    assert [record.exit.exit_code for start in records for record in start if record.HasField("exit")] == [
        1,
        0,
    ]
    # The repository one happens to stand in is none of the run's business.
    assert not runs[0].git.commit and not [*tracked.run.rglob("diff*.patch")]


def test_stop_by_the_user_is_no_failure_in_wandb(world: World) -> None:
    watched = run_watched(
        world.config("stopped", tracker="wandb"), world.folder / "stopped.logs", "interrupt", 5
    )
    (file,) = wandb_files(world.folder / "stopped")
    codes = [record.exit.exit_code for record in wandb_records(file) if record.HasField("exit")]
    assert (watched.error, watched.output, codes) == ("KeyboardInterrupt", "", [255])
    assert [step for step, _ in points("wandb", world.folder / "stopped")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("name", ["wandb", "tensorboard"])
def test_of_two_processes_one_writes_to_the_tracker(world: World, name: str) -> None:
    out = f"two-{name}"
    watched = run_watched(world.config(out, tracker=name), world.folder / f"{out}.logs", ranks=2)
    run = world.folder / out
    assert (watched.code, watched.error) == (0, "")
    assert name not in watched.output
    assert same(losses(points(name, run)), expected(watched.steps, run))


def test_training_outlives_a_tracker_that_breaks(world: World) -> None:
    config = world.config("broken", tracker="wandb", epochs=3)
    watched = run_watched(config, world.folder / "broken.logs", "lose the service", 5)
    assert (watched.code, len(metrics(world.folder / "broken"))) == (0, 3)
    (line,) = watched.output.splitlines()
    assert line.startswith("tracker: wandb failed (") and line.endswith("; metrics.jsonl has every epoch")


def test_wandb_is_online_when_told_and_says_what_hinders_it(world: World) -> None:
    with Listener() as listener:
        here = {"WANDB_BASE_URL": listener.url, "WANDB_API_KEY": KEY, "WANDB_INIT_TIMEOUT": "1"}
        config = world.config("online", tracker="wandb")
        watched = run_watched(config, world.folder / "online.logs", WANDB_MODE="online", **here)
    assert listener.calls > 0
    assert watched.error.startswith("tracker: wandb could not be started (") and "\n" not in watched.error
    assert watched.error.endswith("set it right or leave out --tracker, and go on with --resume")


def test_wandb_stays_offline_unless_the_environment_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str | None] = []
    monkeypatch.setattr(tracking, "_start", lambda *_: started.append(os.environ["WANDB_MODE"]))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    before = dict(os.environ)
    with tracking.open_tracker("wandb", tmp_path, {}, 0):
        pass
    assert dict(os.environ) == before
    monkeypatch.setenv("WANDB_MODE", "online")
    with tracking.open_tracker("wandb", tmp_path, {}, 0):
        pass
    assert started == ["offline", "online"]


def test_unknown_tracker_is_refused_with_the_known_ones(world: World) -> None:
    with pytest.raises(ValueError, match=r"wrong at tracker: .*tensorboard or wandb") as caught:
        world.config("unknown", tracker="trackio")
    assert "\n" not in str(caught.value)
