"""What the tests of trials share: a second pack, and an engine whose texts show which prompt was asked."""

import json
from pathlib import Path
from typing import Any

import yaml
from describe_bench import KnownEngine, config

from mghft.pipeline.trials.run import TrialResult, run_trial
from mghft.pipeline.views import VIEWS

ATTACK = "<script>document.title = 'attacked'</script><img src=x onerror=\"document.title = 'attacked'\">"


def write_pack(folder: Path, stem: str, words: str = "", **fields: Any) -> str:
    """A pack of its own, whose prompt begins with its file's name; returns its path."""
    path = folder / f"{stem}.yaml"
    user = f"{stem} {words}" + "{% for v in views %} {{ v.name }}: {{ v.instruction }}{% endfor %}"
    pack = {"name": stem, "user": user, "views": {view: f"the {view}" for view in VIEWS}, **fields}
    path.write_text(yaml.safe_dump(pack, sort_keys=False), encoding="utf-8")
    return str(path)


class Tellers:
    """Starts engines that say which prompt they were asked; counts starts, ends and requests."""

    def __init__(self, change: Any = None) -> None:
        self.starts = self.ends = 0
        self.asked: list[tuple[str, str]] = []
        self.change = change or (lambda _number, _prompt, views: views)

    def __call__(self) -> KnownEngine:
        self.starts += 1
        engine = KnownEngine(self._answer)
        close = engine.close

        def closed() -> None:
            self.ends += 1
            close()

        engine.close = closed
        return engine

    def _answer(self, request: Any, text: str) -> str:
        prompt = request.user.split()[0]
        number = int(request.key.sticker_id[-8:-4])
        self.asked.append((prompt, request.key.sticker_id))
        views = {view: f"{told}, told by {prompt}" for view, told in json.loads(text).items()}
        answer = self.change(number, prompt, views)
        return answer if isinstance(answer, str) else json.dumps(answer)


def attempt(
    card: Path, trials: Path, *prompts: str, engine: Tellers | None = None, **fields: Any
) -> TrialResult:
    """A trial with the telling engine."""
    return run_trial(config(card, trials, **fields), list(prompts), start_engine=engine or Tellers())
