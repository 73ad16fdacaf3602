"""Every kind of page that the tool writes, with what is hard to lay out.

Seven systems with long names, labels in Chinese, ids without a space in them, failed rows, missing views,
pictures that are gone, and enough of everything that it has to wrap.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from describe_bench import KnownEngine, config, make_corpus, run
from PIL import Image, ImageDraw
from trial_bench import Tellers, attempt, write_pack

from mghft.inference.page import TEMPLATES as PREDICTION_TEMPLATES
from mghft.inference.prediction import Prediction
from mghft.pipeline.audit.duplicates import find_duplicates
from mghft.pipeline.audit.duplicates_report import write_report as write_duplicates
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.exports.preview import PreviewOptions, write_preview
from mghft.pipeline.html import picture_url, write_page
from mghft.pipeline.predictions import prediction_table, write_predictions
from mghft.pipeline.runs.shards import SCHEMA, read_shard, shard_paths, write_shard
from mghft.pipeline.trials.page import write_trial_page
from mghft.train.comparison.compare import CompareConfig, compare
from mghft.train.comparison.page import Shown, write_comparison
from mghft.train.comparison.results import Comparison, SeedMetric, SystemSummary
from mghft.train.data.descriptions import Descriptions
from mghft.train.data.splits import Split
from mghft.train.evaluation.annotators import annotator_kappa
from mghft.train.evaluation.report import write_report
from mghft.train.evaluation.results import Evaluation, RunSummary
from mghft.train.evaluation.split_metrics import accuracy_gains, evaluate_split
from mghft.train.experiments.formats import render
from mghft.train.experiments.table import ExperimentTable, TableRow
from mghft.train.faithfulness.audit import Audit, ViewAudit, WorstText
from mghft.train.faithfulness.ranks import Control
from mghft.train.faithfulness.report import write_audit

LABELS = ("joy", "悲伤", "a class with a rather long name")
LONG = "a-long-name-without-any-space-in-it-" * 3
SYSTEMS = [f"A system of a long name, number {number}" for number in range(6)] + ["MGHFT"]
COMPARED_LABELS = ("joy", "悲伤")
COMPARED_IDS = [f"{label}/{number}" for label in COMPARED_LABELS for number in range(20)]
COUNT = 30


def drawing(seed: int, size: tuple[int, int] = (160, 90)) -> Image.Image:
    """A drawing that no other seed gives; its sides are not equal, so that a stretched one shows."""
    random = np.random.default_rng(seed)
    image = Image.new("RGBA", size, (255, 255, 255, 0))
    draw = ImageDraw.Draw(image)
    for _ in range(9):
        x, y, wide, high = random.integers(4, min(size) // 2, 4).tolist()
        draw.ellipse((x, y, x + wide, y + high), fill=(*random.integers(0, 256, 3).tolist(), 255))
    return image


def report_split() -> Split:
    """Stickers with votes and subsets, of which every second view is missing."""
    rng = np.random.default_rng(0)
    stickers = [
        Sticker(
            f"folder/{LONG}{n}.png",
            "x.png",
            "test",
            n % 3,
            LABELS[n % 3],
            subset=("seen", "a subset")[n % 2],
            votes=(n % 3, (n + n % 2) % 3),
        )
        for n in range(COUNT)
    ]
    images: Any = [Image.fromarray(rng.integers(0, 255, (40, 30, 3), np.uint8)) for _ in stickers]
    texts = [("A" + "very" * 40, "", "short", "text <b>with</b> marks") for _ in stickers]
    described = Descriptions(texts, np.array([[bool(text) for text in row] for row in texts]))
    return Split(stickers, np.arange(COUNT) % 3, images, described, None, None)


def report(folder: Path) -> Path:
    """The report of `mghft eval`."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(1)
    systems = {name: rng.dirichlet([0.4 if name == "MGHFT" else 1.0] * 3, COUNT) for name in SYSTEMS}
    test, how = report_split(), {"seed": 0, "rounds": 100}
    people = annotator_kappa(test.stickers, {name: rows.argmax(1) for name, rows in systems.items()})
    assert people is not None
    summary = RunSummary(True, "cpu", 2, 2, 1, 0.5, 60.0)
    evaluation = Evaluation(
        corpus="Stickers-with-a-name-that-never-ends-" * 3,
        labels=list(LABELS),
        main="MGHFT",
        systems=SYSTEMS,
        runs=dict.fromkeys(SYSTEMS, summary),
        text_only_strength=None,
        splits={"test": evaluate_split(test, systems, LABELS, **how, temperatures={"MGHFT": 2.5})},
        differences={"test": accuracy_gains(test, systems, "MGHFT", **how)},
        annotators={"test": people},
    )
    write_report(
        folder,
        evaluation,
        split=test,
        probabilities=systems["MGHFT"],
        views=("content", "style", "intention", "details"),
        histories={name: _history(place) for place, name in enumerate(SYSTEMS)},
        count=8,
        seed=0,
    )
    return folder / "index.html"


def _history(place: int) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "classification_loss": 1.2 / epoch + 0.03 * place,
            "validation_loss": 1.3 / epoch + 0.04 * place,
            "validation_accuracy": 0.9 - 0.3 / epoch - 0.02 * place,
            "best": epoch == 5,
        }
        for epoch in range(1, 6)
    ]


def compared(folder: Path) -> Comparison:
    """Seven systems with long names on 40 stickers of the folder `data`, which has classes as folders."""
    rng = np.random.default_rng(0)
    for id_ in COMPARED_IDS:
        path = folder / "data" / f"{id_}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGBA", (40, 60), tuple(rng.integers(0, 255, 4).tolist())).save(path)
    true = [id_.split("/")[0] for id_ in COMPARED_IDS]
    right = rng.random((7, 40)) < np.linspace(0.9, 0.3, 7)[:, None]
    names = [f"A system of a long name, number {number}" for number in range(7)]
    tables = []
    for name, row in zip(names, right, strict=True):
        places = [COMPARED_LABELS.index(label) for label in true]
        answers = np.where(row, places, 1 - np.array(places))
        tables.append(
            prediction_table(
                system=name,
                seed=1,
                split="all",
                ids=[f"{id_}.png" for id_ in COMPARED_IDS],
                true=true,
                probabilities=np.where(np.arange(2) == answers[:, None], 0.8, 0.2),
                labels=COMPARED_LABELS,
            )
        )
    write_predictions(folder / "predictions.parquet", pa.concat_tables(tables))
    return compare(CompareConfig(sources=(str(folder),), split="all"))


def comparison(folder: Path) -> Path:
    """The page of `mghft compare`, with stickers that are gone."""
    found = compared(folder)
    write_comparison(folder / "out", found, Shown("folder", folder / "data", None), count=8)
    return folder / "out" / "index.html"


def audit(folder: Path) -> Path:
    """The page of `mghft audit`; one picture is missing, one view has no other run."""
    folder.mkdir(exist_ok=True)
    drawing(3).save(folder / "a.png")
    control = Control(0.41, 0.32, 0.38, 0.31)
    views = [
        ViewAudit(view, 838, 700, None if view == "style" else 0.612, 0.3, None, 0.2, 0.1, 0.05, control)
        for view in ("content", "style", "intention", "details")
    ]
    worst = [
        WorstText(LONG, "a.png", "content", "悲伤的猫 " * 30, 0.01),
        WorstText("b", "gone.png", "style", LONG, 0.02),
    ]
    found = Audit(
        "colour-clip", 838, views, worst, [], ["Judged by a small encoder, so look at some yourself."]
    )
    write_audit(folder / "out", found, folder, count=8)
    return folder / "out" / "index.html"


def experiment(folder: Path) -> Path:
    """The tables of `mghft experiment table --format html`, one row without a result."""
    folder.mkdir(exist_ok=True)
    metric = SeedMetric(0.6789, 0.01, [0.67, 0.68], (0.65, 0.70), None)
    summary = SystemSummary("MGHFT", [1, 2], metric, metric, 0.6, 0.5, 0.6, 1.1, 0.4, 0.05, None, None)
    rows = [TableRow(name, summary, None, 12.5, 900.0, {"accuracy": 67.0}) for name in SYSTEMS]
    rows.append(TableRow("not yet run", None, None, None, None, {}))
    table = ExperimentTable(
        "Released 悲伤", "SER30K", "test", "all", 3084, rows, 7, 8, None, ["One seed is missing."]
    )
    page = folder / "experiment.html"
    page.write_text(render([table], "html"), encoding="utf-8")
    return page


def duplicates(folder: Path) -> Path:
    """The page of `mghft data duplicates`: equal pictures in two splits, one file gone since."""
    data = folder / "data"
    for split, label in (("train", "joy"), ("test", "悲伤")):
        (data / split / label).mkdir(parents=True)
        drawing(1, (300, 60)).save(data / split / label / f"{LONG}.png")
        drawing(2, (60, 300)).save(data / split / label / "high.png")
        drawing(5).save(data / split / label / "gone.png")
    found = find_duplicates(load_corpus(load_card("folder"), data), workers=0)
    (data / "train" / "joy" / "gone.png").unlink()
    write_duplicates(found, folder / "out")
    return folder / "out" / "duplicates.html"


def trial(folder: Path) -> Path:
    """The page of `mghft prompts try`: three prompts, failed answers, a picture that is gone."""
    card = make_corpus(folder / "data", 12)

    def told(number: int, prompt: str, views: dict[str, str]) -> Any:
        if prompt == "beta" and number in (1, 9):
            return f"no JSON {LONG}\n" * 30
        return {
            view: f"{text} 你好吗 {LONG if number == 2 else 'with a few words that differ from each other'}"
            for view, text in views.items()
        }

    few = {"content": "it", "style": None, "intention": "what for", "details": None}
    prompts = [write_pack(folder, "alpha"), write_pack(folder, "beta", name="beta-" + LONG[:36])]
    done = attempt(
        card,
        folder / "tries",
        *prompts,
        write_pack(folder, "gamma", views=few),
        engine=Tellers(told),
        where=("split=train,test",),
        limit=12,
    )
    (card.parent / "images" / "0003.png").unlink()
    return write_trial_page(done, card.parent)[0]


def described(folder: Path, count: int = 40, images: int = 40) -> tuple[Path, Path]:
    """A run of `count` stickers and its corpus: failed rows, missing views, a label in Chinese, long ids."""
    card = make_corpus(folder / "data", images)
    for number in range(images):
        drawing(number).save(card.parent / "images" / f"{number:04d}.png")

    def answer(request: Any, text: str) -> str:
        number = int(request.key.sticker_id[-8:-4])
        if number % 8 == 1:
            return f"no JSON {LONG} " * 20
        return json.dumps({**json.loads(text), "details": f"wide open eyes, number {number}, 你好"})

    run(config(card, folder / "run"), KnownEngine(answer, backwards=False))
    rows = [row for path in shard_paths(folder / "run") for row in read_shard(path, SCHEMA.names).to_pylist()]
    fingerprint = json.loads((folder / "run" / "manifest.json").read_text())["fingerprint"]
    for path in shard_paths(folder / "run"):
        path.unlink()
    many = []
    for number in range(count):
        row = dict(rows[number % len(rows)])
        if number >= len(rows):
            row["sticker_id"] = f"copy/{number:06d}.png"
        if number % 7 == 3:
            row["label_name"], row["style"] = "悲伤", None
        many.append({**row, "label_name": None} if number == 5 else row)
    many[4]["sticker_id"] = f"{LONG}.png"
    for start in range(0, count, 256):
        path = folder / "run" / f"descriptions-{start // 256:05d}.parquet"
        write_shard(path, many[start : start + 256], fingerprint)
    (card.parent / "images" / "0006.png").unlink()
    return folder / "run", card.parent


def preview(folder: Path) -> Path:
    """The page of `mghft preview`, all in one."""
    run_folder, data = described(folder)
    return write_preview(run_folder, data=data).path


def preview_files(folder: Path) -> Path:
    """The page of `mghft preview --all` of more stickers than one page holds."""
    run_folder, data = described(folder, count=640)
    return write_preview(run_folder, PreviewOptions(everything=True), data=data).path


def predictions(folder: Path) -> Path:
    """The page of `mghft predict --html`: seven emotions, a missing view, a file that cannot be read."""
    folder.mkdir(exist_ok=True)
    chances = dict(zip([*LABELS, *"abcd"], (0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05), strict=True))
    views = {"content": "悲伤的猫 " * 20, "style": LONG}
    shown = [
        Prediction("joy", chances, views, ("intention", "details"), name=LONG),
        Prediction(None, name="b.png", error="the file is no image that can be read"),
        Prediction("悲伤", chances, name="c.png", describing_error="the answer is no valid JSON"),
    ]
    facts = {
        "title": "page",
        "total": 1234,
        "shown": 3,
        "weights": LONG,
        "corpus": "SER30K",
        "calibrated": True,
        "temperature": 1.5,
        "notes": ["1 of 1,234 pictures cannot be read"],
        "by_label": [("joy", 1000), ("悲伤", 233)],
        "overlays": True,
        "cards": [(one, None if one.error else picture_url(drawing(7)), None) for one in shown],
    }
    write_page(folder / "page.html", "predictions.html.j2", facts, PREDICTION_TEMPLATES)
    return folder / "page.html"


PAGES: dict[str, Callable[[Path], Path]] = {
    "audit": audit,
    "comparison": comparison,
    "duplicates": duplicates,
    "experiment": experiment,
    "predictions": predictions,
    "preview": preview,
    "preview with files": preview_files,
    "report": report,
    "trial": trial,
}
