"""Does the description help? MGHFT beside its parts on the emoji corpus, over seeds; see --help.

Every system has the same budget: the recipe's epochs and steps. `--part answer` is the corpus' own split with
the stand-in's texts, gold texts (an upper bound: the emoji's published names and tags in the stand-in's own
words) and another sticker's texts (a lower one); `folds` tests every emoji with labels of it never seen;
`shares` learns from 10, 25 and 50 % of the labels in as many steps; `search` compares settings of the fusion
by accuracy on validation alone, `search-folds` by that of the first three folds, whose validation holds emoji
that no label was seen of (the corpus' own holds known emoji in another style). Runs that are there are kept,
so that a part can be stopped and continued. Intervals draw emoji and seeds anew, both with replacement.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.splits import write_split
from mghft.pipeline.settings import parse_assignments

STAND_IN, GOLD, OTHER = "stand-in", "gold", "another sticker's"
SEEDS = (42, 1, 2, 3, 4)
SHARES = (0.1, 0.25, 0.5)
ROUNDS = 4000
MGHFT, VISION, PROBE = "MGHFT", "MGHFT without text", "eye, probe"
# In the order of the tables.
SYSTEMS = ("majority", "text only", PROBE, VISION, "late fusion, mean", "late fusion, regression", MGHFT)

# What `search` compares, beside the recipe as it is.
SETTINGS: dict[str, dict[str, Any]] = {
    "alignment 0": {},
    "alignment .005": {"model.alignment_weight": 0.005},
    "alignment .05": {"model.alignment_weight": 0.05},
    "view dropout .3": {"view_dropout": 0.3},
    "backbone at .1": {"backbone_lr_scale": 0.1},
    "30 epochs": {"epochs": 30},
}
# A run without text is the same whatever these are.
OF_TEXT = ("model.alignment_weight", "view_dropout")


@dataclass(frozen=True)
class Cell:
    """One pair of trainings, with and without text, and their report."""

    card: str = "emoji"
    texts: str = STAND_IN
    share: float = 1.0
    seed: int = SEEDS[0]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def of_run(self, *, text: bool) -> dict[str, Any]:
        """Return the settings of the run with text, or of the one without."""
        return {name: value for name, value in self.settings.items() if text or name not in OF_TEXT}

    def folder(self, work: Path, *, text: bool) -> Path:
        """Return the run folder; without text, texts are no part of it."""
        facts = {**asdict(self), "texts": self.texts if text else None, "settings": self.of_run(text=text)}
        digest = zlib.crc32(json.dumps(facts, sort_keys=True).encode())
        return work / f"{'text' if text else 'vision'}-{self.seed}-{digest:08x}"


def cells(part: str, seeds: Sequence[int], settings: Mapping[str, Any]) -> Iterator[Cell]:
    """Yield what a part trains, the most telling first."""
    for seed in seeds:
        if part == "answer":
            for texts in (STAND_IN, GOLD, OTHER):
                yield Cell(texts=texts, seed=seed, settings=settings)
        elif part == "folds":
            for fold in range(5):
                for texts in (STAND_IN, GOLD):
                    yield Cell(f"emoji:fold={fold}", texts, seed=seed, settings=settings)
        elif part == "shares":
            for share in SHARES:
                for texts in (STAND_IN, GOLD):
                    yield Cell(texts=texts, share=share, seed=seed, settings=settings)
        else:
            by_folds = part == "search-folds"
            for card in [f"emoji:fold={fold}" for fold in range(3)] if by_folds else ["emoji"]:
                for texts in (STAND_IN, GOLD) if by_folds else (STAND_IN,):
                    for changes in SETTINGS.values():
                        yield Cell(card, texts, seed=seed, settings={**settings, **changes})


Job = tuple[Cell, bool, Path, Path, Path]


def train_one(job: Job) -> None:
    """Train one run, with text or without, but for what is there already."""
    import torch

    from mghft.train.config import load_config
    from mghft.train.trainer.trainer import train

    cell, text, data, descriptions, work = job
    torch.set_num_threads(1)
    folder = cell.folder(work, text=text)
    fields: dict[str, Any] = {
        "card": _card(cell, data, work),
        "data": data,
        "descriptions": texts_of(cell, descriptions, work) if text else None,
        "out": folder,
        "use_text": text,
        "seed": cell.seed,
        "repeats": round(1 / cell.share),
        "resume": True,
        "progress": False,
        "workers": 0,
        "cache_dir": work / "cache",
        "keep_checkpoints": 1,
    }
    assigned = parse_assignments([f"{name}={value}" for name, value in cell.of_run(text=text).items()])
    train(load_config("cpu", None, {**fields, **assigned}))
    for path in sorted((folder / "checkpoints").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


def judge(job: Job) -> None:
    """Evaluate a cell's two runs, and the probe of the eye as it was before them."""
    import torch

    from mghft.train.evaluation.evaluate import evaluate
    from mghft.train.evaluation.trained_runs import EvalConfig

    cell, _, _, _, work = job
    torch.set_num_threads(1)
    runs = tuple(cell.folder(work, text=text) for text in (True, False))
    report = runs[0] / "report"
    if not (report / "probe.json").exists():
        evaluate(EvalConfig(runs=runs, out=report, stickers_shown=0, workers=0, num_threads=1))
        (report / "probe.json").write_text(json.dumps(probe(runs[1])))


def probe(run: Path) -> dict[str, dict[str, bool]]:
    """Return, by split, which stickers a regression on the eye's own vectors predicts right."""
    from mghft.model import MGHFT
    from mghft.train.data.sampler import eval_transform
    from mghft.train.data.splits import load_splits, open_corpus
    from mghft.train.distributed.accelerator import build_accelerator
    from mghft.train.evaluation.baselines import regression_baseline
    from mghft.train.evaluation.predict import predict, visual_vectors
    from mghft.train.evaluation.trained_runs import open_runs
    from mghft.train.eye.weights import load_first_weights

    config = open_runs([run])[0].config
    model = MGHFT(MGHFT.from_pretrained(run / "best").config)
    load_first_weights(model, "eye")
    side = model.config.image_size
    names = ("train", "validation", "test")
    corpus, views = open_corpus(config.sources), model.config.views
    splits = load_splits(
        corpus, names, config.sources, config.cache, text=None, views=views, image_size=side, encoder=None
    )
    accelerator, transform = build_accelerator("no"), eval_transform(side, config.augmentation)
    vectors = {
        name: predict(
            model, split, transform, accelerator=accelerator, batch_size=64, read=visual_vectors
        ).astype(np.float32)
        for name, split in splits.items()
    }
    labels = {name: split.labels for name, split in splits.items()}
    found = regression_baseline(vectors, labels, len(corpus.card.labels)).probabilities
    return {
        name: {
            sticker.id: bool(right)
            for sticker, right in zip(split.stickers, found[name].argmax(1) == labels[name], strict=True)
        }
        for name, split in splits.items()
    }


def _card(cell: Cell, data: Path, work: Path) -> str:
    """Return the card, with a split file of a share of the labels where the cell has one."""
    if cell.share == 1:
        return cell.card
    path = work / f"labels-{cell.share:g}-{cell.seed}.csv"
    if not path.exists():
        corpus = load_corpus(load_card(cell.card), data)
        random = np.random.default_rng(cell.seed)
        chosen = {s.id: s.split for s in corpus.stickers if s.split != "train"}
        for label in corpus.card.labels:
            # By emoji: half of the labels is half of what was taught, not the same in half the styles.
            mine = [s for s in corpus.stickers if s.split == "train" and s.label_name == label]
            emoji = sorted({_emoji(s.id) for s in mine})
            kept = {
                emoji[i] for i in random.permutation(len(emoji))[: max(1, round(cell.share * len(emoji)))]
            }
            chosen |= {s.id: "train" for s in mine if _emoji(s.id) in kept}
        write_split(path, corpus, chosen, how=f"{cell.share:g} of the emoji of every label, seed {cell.seed}")
    return f"{cell.card}@{path}"


def texts_of(cell: Cell, descriptions: Path, work: Path) -> Path:
    """Return the run folder of a cell's texts: the given one, or one with other texts in its rows."""
    if cell.texts == STAND_IN:
        return descriptions
    return work / {GOLD: "texts-gold", OTHER: "texts-other"}[cell.texts]


def write_texts(texts: str, descriptions: Path, out: Path) -> None:
    """Write a run folder like `descriptions` with gold texts, or those of another sticker of the split."""
    from mghft.pipeline.corpora.emoji.art import load_known
    from mghft.pipeline.corpora.emoji.table import STAND_IN_STYLES
    from mghft.pipeline.files import write_json
    from mghft.pipeline.runs.lock import lock_run
    from mghft.pipeline.runs.manifest import fingerprint, open_run, read_manifest
    from mghft.pipeline.runs.shards import next_shard_path, read_descriptions, shard_paths, write_shard
    from mghft.pipeline.runs.status import run_status
    from mghft.pipeline.tiny_llava.texts import describe, load_entries
    from mghft.pipeline.views import VIEWS

    if out.exists() and shard_paths(out):
        return
    rows = read_descriptions(descriptions).to_pylist()
    if texts == GOLD:
        entries = load_entries(load_known())
        for row in rows:
            # No view of the gold texts tells the style: the model is not to learn it from there.
            row |= describe(entries[_emoji(row["sticker_id"])]["en"], STAND_IN_STYLES[0])
    else:
        random = np.random.default_rng(0)
        for split in sorted({row["split"] for row in rows}):
            mine = [row for row in rows if row["split"] == split]
            turned = [mine[i] for i in random.permutation(len(mine))]
            given = [{view: row[view] for view in VIEWS} for row in turned]
            # In a circle of random order nobody keeps the own text.
            for row, other in zip(turned, [*given[1:], given[0]], strict=True):
                row |= other
    manifest = {name: value for name, value in read_manifest(descriptions).items() if name != "fingerprint"}
    manifest["model"] = {**manifest["model"], "name": f"none ({texts} texts)", "weights_sha256": None}
    manifest = {"fingerprint": fingerprint(manifest), **manifest}
    out.mkdir(parents=True, exist_ok=True)
    with lock_run(out, None):
        open_run(out, manifest, alone=True)
        write_shard(next_shard_path(out), rows, manifest["fingerprint"])
        write_json(out / "stats.json", run_status(out))


def read_right(cell: Cell, work: Path) -> dict[tuple[str, str], dict[str, bool]]:
    """Return by subset and system which stickers were predicted right."""
    found: dict[tuple[str, str], dict[str, bool]] = {}
    report = cell.folder(work, text=True) / "report"
    probed = json.loads((report / "probe.json").read_text())
    for row in pq.read_table(report / "predictions.parquet").to_pylist():
        split, sticker = row["split"], row["id"]
        subset = row["subset"] or split if split == "test" else split
        if "fold=" in cell.card and split == "test":
            subset = "unseen emoji (folds)"
        predicted = max(row["probabilities"], key=row["probabilities"].get)
        found.setdefault((subset, row["system"]), {})[sticker] = row["label"] == predicted
        found.setdefault((subset, PROBE), {})[sticker] = probed[split][sticker]
    return found


def right_by_seed(
    chosen: Sequence[Cell], work: Path, subset: str
) -> tuple[list[str], dict[str, NDArray[np.float64]]]:
    """Return the stickers of a subset and, by system, [stickers, seeds] of 1 where it was right."""
    by_system: dict[str, dict[int, dict[str, bool]]] = {}
    for cell in chosen:
        for (name, system), right in read_right(cell, work).items():
            if name == subset:
                by_system.setdefault(system, {}).setdefault(cell.seed, {}).update(right)
    ids = sorted(next(iter(next(iter(by_system.values())).values())))
    return ids, {
        system: np.array([[seeds[seed][i] for seed in sorted(seeds)] for i in ids], dtype=float)
        for system, seeds in by_system.items()
    }


def interval(values: NDArray[np.float64], ids: Sequence[str]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of [stickers, seeds], drawing emoji and seeds with replacement."""
    random = np.random.default_rng(0)
    emoji = np.unique([_emoji(i) for i in ids], return_inverse=True)[1]
    groups, seeds = emoji.max() + 1, values.shape[1]
    sums = np.zeros((groups, seeds))
    np.add.at(sums, emoji, values)
    sizes = np.bincount(emoji)
    drawn = random.multinomial(groups, np.full(groups, 1 / groups), size=ROUNDS)
    weights = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=ROUNDS) / seeds
    means = ((drawn @ sums) * weights).sum(1) / (drawn @ sizes)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def table(chosen: Sequence[Cell], work: Path, subset: str) -> None:
    """Print every system's accuracy on a subset, and MGHFT's difference to it."""
    ids, right = right_by_seed(chosen, work, subset)
    seeds = next(iter(right.values())).shape[1]
    print(f"\n{subset}: {len(ids)} stickers, {seeds} seeds; accuracy and MGHFT's difference, in %")
    for system in SYSTEMS:
        if system in right:
            low, high = interval(right[system], ids)
            said = f"  {system:25} {100 * right[system].mean():5.1f} ({100 * low:.1f} to {100 * high:.1f})"
            if system != MGHFT:
                gain = right[MGHFT] - right[system]
                low, high = interval(gain, ids)
                said += f"   {100 * gain.mean():+5.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
            print(said)


def write_expected(path: Path, chosen: Sequence[Cell], work: Path, subsets: Sequence[str]) -> None:
    """Write where one more seed's accuracies are expected, for `mghft eval --expected`: 95 %, Student's t.

    A range is at least two stickers wide to either side, but for majority's: where a processor adds up in
    another order, some texts differ, and the regression on them with them.
    """
    lines = [
        "# Where the accuracies of the demo are expected: 95 % prediction intervals of one more run, from",
        f"# {len({cell.seed for cell in chosen})} seeds. Written by benchmarks/fusion.py --part answer.",
        "test:",
    ]
    for subset in subsets:
        ids, right = right_by_seed(chosen, work, subset)
        lines.append(f"  {subset}:")
        for system in SYSTEMS:
            if system in right and system != PROBE:
                by_seed = right[system].mean(0)
                count = len(by_seed)
                width = stats.t.ppf(0.975, count - 1) * by_seed.std(ddof=1) * np.sqrt(1 + 1 / count)
                width = width if system == "majority" else max(width, 2 / len(ids))
                low, high = max(0, by_seed.mean() - width), min(1, by_seed.mean() + width)
                lines.append(f"    {json.dumps(system)}: [{low:.3f}, {high:.3f}]")
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _emoji(sticker: str) -> str:
    return Path(sticker).stem


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("demo/data"), help="root of the emoji corpus")
    parser.add_argument("--descriptions", type=Path, default=Path("demo/descriptions"))
    parser.add_argument("--work", type=Path, default=Path("demo/fusion"), help="folder of the runs")
    parser.add_argument(
        "--part", choices=("search", "search-folds", "answer", "folds", "shares"), default="answer"
    )
    parser.add_argument("--seeds", type=int, default=5, help=f"how many of {SEEDS}")
    parser.add_argument("--write-expected", type=Path, help="with answer: file for mghft eval --expected")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    settings = parse_assignments(given.settings)
    chosen = list(cells(given.part, SEEDS[: given.seeds], settings))
    work = given.work.resolve()
    for texts in {cell.texts for cell in chosen} - {STAND_IN}:
        write_texts(texts, given.descriptions, texts_of(Cell(texts=texts), given.descriptions, work))
    os.environ["OMP_NUM_THREADS"] = "1"
    place = given.data.resolve(), given.descriptions.resolve(), work
    runs = {cell.folder(work, text=text): (cell, text) for cell in chosen for text in (False, True)}
    for cell in chosen:
        # Written before the processes begin, or two of them would write one.
        _card(cell, given.data.resolve(), work)
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        for task, jobs in (
            (train_one, [(*run, *place) for run in runs.values()]),
            (judge, [(cell, True, *place) for cell in chosen]),
        ):
            for number, _ in enumerate(pool.imap(task, jobs), 1):
                print(f"{task.__name__}: {number} of {len(jobs)}", file=sys.stderr, flush=True)
    if given.part.startswith("search"):
        for texts in sorted({cell.texts for cell in chosen}):
            for name, changes in SETTINGS.items():
                mine = [c for c in chosen if c.texts == texts and c.settings == {**settings, **changes}]
                print(f"\n== {name}, {texts} texts")
                table(mine, work, "validation")
        return
    if given.write_expected is not None:
        stand_in = [cell for cell in chosen if cell.texts == STAND_IN]
        write_expected(given.write_expected, stand_in, work, ("unseen style", "unseen emoji"))
    for texts in (STAND_IN, GOLD, OTHER):
        for share in (1.0, *SHARES):
            mine = [cell for cell in chosen if cell.texts == texts and cell.share == share]
            if mine:
                print(f"\n== {texts} texts, {share:.0%} of the labels")
                for subset in sorted({name for name, _ in read_right(mine[0], work)}):
                    if subset not in ("train", "validation"):
                        table(mine, work, subset)


if __name__ == "__main__":
    main()
