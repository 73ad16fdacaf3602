"""Run by test_kill in a process of its own: `kill_child.py known|vllm CARD FOLDER`.

For each moment a run that is killed and the same run started again. The engine is started once; every run is
a process forked from the one that holds it.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from describe_bench import KnownEngine, config
from kill_moments import MOMENTS, ONE_AFTER_THE_OTHER, SHARD_ROWS, arm

from mghft.pipeline.describe.run import describe
from mghft.pipeline.engines.base import Engine, Request, Response


class Counted(KnownEngine):
    """Notes every answer's tokens in a file at once, so that a killed run's work counts too."""

    log = -1

    def reply(self, request: Request) -> Response:
        answer = super().reply(request)
        os.write(self.log, b"x" * answer.output_tokens)
        return answer


class Lent:
    """An engine that a run may not close: the next run is forked with it."""

    def __init__(self, engine: Engine) -> None:
        self.capacity, self.submit, self.collect = engine.capacity, engine.submit, engine.collect

    def close(self) -> None:
        pass


def count_vllm_tokens(log: Path) -> None:
    """Every token that the scheduler takes over is noted at once."""
    from vllm.v1.core.sched.scheduler import Scheduler

    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    original = Scheduler.update_from_output

    def update(self: Any, scheduled: Any, output: Any) -> Any:
        os.write(file, b"x" * sum(map(len, output.sampled_token_ids)))
        return original(self, scheduled, output)

    Scheduler.update_from_output = update


def forked(card: Path, out: Path, engine: Engine, moment: str | None, log: Path) -> int:
    """One run in a process of its own; the signal or exit code that ended it."""
    child = os.fork()
    if not child:
        code = 1
        try:
            if isinstance(engine, Counted):
                engine.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            else:
                count_vllm_tokens(log)
            if moment is not None:
                arm(MOMENTS[moment])
            describe(config(card, out, shard_rows=SHARD_ROWS, window=8), start_engine=lambda *_: engine)
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def start_vllm() -> Engine:
    from mghft.pipeline.engines.model_source import find_model
    from mghft.pipeline.engines.options import VllmOptions
    from mghft.pipeline.engines.vllm_engine import VllmEngine

    # A first request would start threads, which a fork does not take along.
    VllmEngine._probe = lambda *_: None
    return Lent(VllmEngine(find_model("tiny-llava"), VllmOptions(max_num_seqs=4, max_model_len=256)))


def main(mode: str, card: Path, folder: Path) -> None:
    """Prints by moment how its two runs ended and the tokens of both; and a run killed at many moments."""
    engine = start_vllm() if mode == "vllm" else Counted()
    result: dict[str, Any] = {}
    for number, moments in enumerate([[], *([name] for name in MOMENTS), ONE_AFTER_THE_OTHER]):
        out, log = folder / str(number), folder / f"{number}.tokens"
        killed = [forked(card, out, engine, moment, log) for moment in moments]
        finished = forked(card, out, engine, None, log)
        name = moments[0] if len(moments) == 1 else "many" if moments else "undisturbed"
        result[name] = {
            "out": str(out),
            "killed": killed,
            "finished": finished,
            "tokens": log.stat().st_size,
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
