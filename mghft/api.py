"""The steps of the pipeline as functions: the same work as the commands of their names, from Python.

`import mghft` offers them; what they import is loaded when they are called.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mghft.pipeline.runs.status import RunStats
    from mghft.train.evaluation.results import Evaluation

AnyPath = str | Path


def describe(
    card: AnyPath, *, data: AnyPath, out: AnyPath, model: str | None = None, **settings: Any
) -> RunStats:
    """Describe the stickers of a corpus into a run folder, or go on where a run stopped.

    Args:
        card: data card: a shipped name or a path.
        data: root folder of the corpus.
        out: run folder.
        model: "tiny-llava" (the shipped stand-in, which knows emoji only), a folder, or a hub id.
        settings: further fields of the describe configuration (docs/descriptions.md), such as `limit`,
            `prompt` or `engine`; a mapping reaches inside: `image={"max_side": 512}`.

    Returns:
        The run's statistics, as in its stats.json.

    Raises:
        FileNotFoundError, ValueError: something that was given is wrong; one sentence.
        EngineDiedError, NothingDescribedError: the work failed; what is finished is kept.
    """
    from mghft.pipeline.describe.config import build_describe_config
    from mghft.pipeline.describe.run import describe as run
    from mghft.pipeline.settings import given

    fields = {"card": str(card), "data": Path(data), "out": Path(out), **given({"model": model}), **settings}
    if fields.get("dry_run"):
        raise ValueError("dry_run: it is of the command alone, `mghft describe … --dry-run`")
    stats = run(build_describe_config(None, fields))
    assert "rows" in stats
    return stats  # type: ignore[return-value]


def train(
    card: AnyPath,
    *,
    out: AnyPath,
    data: AnyPath | None = None,
    descriptions: AnyPath | None = None,
    recipe: str = "mghft",
    **settings: Any,
) -> Path:
    """Train a network on a corpus and its descriptions, in this process.

    Args:
        card: data card: a shipped name or a path.
        out: run folder; a finished run in it is left as it is.
        data: root folder of the corpus.
        descriptions: run folder of `describe`; None with `use_text=False` or for a peer (`network="lora"`).
        recipe: the values that nothing else says: "mghft" (the paper) or "cpu" (small).
        settings: further fields of the training configuration (`mghft train --fields`); a mapping reaches
            inside: `model={"alpha": 2}`.

    Returns:
        The run folder, whose best/ holds the weights.

    Raises:
        FileNotFoundError, ValueError: something that was given is wrong; one sentence.
        FloatingPointError: the loss is not finite any more.
    """
    from mghft.pipeline.settings import given
    from mghft.train.config import load_config
    from mghft.train.data.descriptions import check_sources
    from mghft.train.trainer.trainer import train as run

    paths = {name: None if path is None else Path(path) for name, path in _named(data, descriptions)}
    fields = {"card": str(card), "out": Path(out), **given(paths), **settings}
    config = load_config(recipe, None, fields)
    check_sources(config.sources, use_text=config.use_text)
    return run(config)


def evaluate(runs: AnyPath | Sequence[AnyPath], *, out: AnyPath, **settings: Any) -> Evaluation:
    """Evaluate the best weights of trained runs and write the report.

    Args:
        runs: run folders of `train`, one or several of one corpus.
        out: folder of the report.
        settings: further fields of the evaluation, such as `splits=("test",)` or `data`.

    Returns:
        The content of report.json.

    Raises:
        FileNotFoundError, ValueError: something that was given is wrong; one sentence.
    """
    from mghft.train.evaluation.evaluate import evaluate as run
    from mghft.train.evaluation.trained_runs import build_eval_config

    folders = [runs] if isinstance(runs, str | Path) else list(runs)
    fields = {"runs": tuple(map(Path, folders)), "out": Path(out), **settings}
    return run(build_eval_config(fields))


def _named(data: AnyPath | None, descriptions: AnyPath | None) -> Sequence[tuple[str, AnyPath | None]]:
    return (("data", data), ("descriptions", descriptions))
