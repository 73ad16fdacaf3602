"""The command predict."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mghft import options

if TYPE_CHECKING:
    from mghft.inference.prediction import Prediction
    from mghft.inference.run import PredictConfig
    from mghft.inference.weights import FoundWeights

_PICTURES = options.Option(
    "pictures",
    Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PICTURE…", help="Pictures, folders, patterns, or - for one path a line on stdin."
        ),
    ],
    None,
)
_OWN: options.Group = (
    options.option("weights", str, None, "Run folder of 'mghft train', folder of weights, or hub id."),
    options.option("descriptions", Path, "descriptions", "Run of 'mghft describe' whose views are read."),
    options.option("corrections", Path, "corrections", "CSV of corrections laid over these views."),
    options.option("no_text", bool, None, "Judge by the picture alone; no multimodal model is started."),
    options.option(
        "form",
        Literal["table", "jsonl", "csv", "parquet"],
        None,
        "table is for the terminal; default: by the suffix of --out.",
        "--format",
    ),
    options.option("out", Path, "out", "File to write, whole at its end; a stopped command goes on."),
    options.option("overwrite", bool, "overwrite", "Replace the file that --out names."),
    options.option("html", Path, "html", "Also write a page with views, probabilities and overlays."),
    options.option("pictures_shown", int, "pictures_shown", "Pictures on the page, at most; default 200."),
    options.option("raw", bool, None, "Probabilities as the network gives them, not calibrated."),
    options.option("text_encoder", str, "text_encoder", "The text encoder's place, where it lies elsewhere."),
    options.option("batch_size", int, "batch_size", "Pictures at a time; default 32."),
    options.option("workers", int, "workers", "Processes that decode pictures; 0: this one; default 1."),
)


@options.with_options(
    (_PICTURES,),
    _OWN,
    options.reworded(
        options.MODEL,
        model="Model that describes the pictures: tiny-llava, a folder, a hub id, or its name on a server; "
        "default: the one that described what the weights were trained on.",
    ),
    options.PROMPT,
    options.ENGINE,
    options.VLLM,
)
def predict(
    fields: Mapping[str, Any],
    pictures: list[str] | None,
    weights: str | None,
    no_text: bool | None,
    form: str | None,
    raw: bool | None,
) -> None:
    """Say the emotion of pictures: each is described by a multimodal model and classified by trained weights.

    A picture that cannot be read is one failed row. With --out the rows are kept as they come: the same
    command goes on where it was stopped, and the file appears once it is whole. Probabilities are calibrated
    by the temperature of the validation split.

    \b
    Examples:
      mghft predict sticker.png --weights demo/runs/text --model tiny-llava
      mghft predict stickers/ --weights demo/runs/text --no-text --out predictions.csv
      mghft predict demo/data/images/noto --weights demo/runs/text --descriptions demo/descriptions \\
        --html predictions.html
      find . -name '*.webp' | mghft predict - --weights runs/mghft --format jsonl
      mghft predict 'memes/**/*.jpg' --weights runs/mghft --out memes.parquet --engine openai \\
        --base-url http://localhost:8000/v1 --model NAME
    """
    from mghft.inference.files import find_files
    from mghft.inference.weights import find_weights

    if not pictures:
        raise ValueError("which pictures? Give files, folders, patterns, or - for a list on standard input")
    if weights is None:
        raise ValueError(
            "which weights? Give --weights: a run folder of 'mghft train', a folder, or a hub id"
        )
    files, found = find_files(pictures, sys.stdin), find_weights(weights)
    config = _config(fields, found, weights, no_text=no_text, form=form, raw=raw)
    _say_before(config, found, files.passed_by)
    from mghft.inference.run import predict_files

    outcome = predict_files(config, found, files, _shower(form, config, found.inference.labels))
    for sentence in outcome.sentences():
        typer.echo(sentence, err=True)
    for path in filter(None, (config.out, config.html)):
        typer.echo(f"written: {path}", err=True)
    if outcome.done and outcome.failed == outcome.done:
        raise typer.Exit(1)


def _config(
    fields: Mapping[str, Any],
    found: "FoundWeights",
    weights: str,
    *,
    no_text: bool | None,
    form: str | None,
    raw: bool | None,
) -> "PredictConfig":
    from mghft.inference.journal import format_of
    from mghft.inference.run import PredictConfig
    from mghft.inference.weights import engine_fields
    from mghft.pipeline.settings import build, merge

    nested = merge(fields)
    if found.inference.text is None and "descriptions" in nested:
        raise ValueError(f"{weights} reads no descriptions: leave --descriptions out")
    if "descriptions" not in nested:
        nested = engine_fields(found, nested, use_text=not no_text, required=True)
    nested |= {"weights": weights, "use_text": not no_text, "calibrated": not raw}
    out: Path | None = nested.get("out")
    if out is not None:
        if form == "table":
            raise ValueError("--format table is for the terminal: give jsonl, csv or parquet with --out")
        nested["format"] = format_of(out, form)
    elif form == "parquet":
        raise ValueError("--format parquet wants a file: give --out")
    return build(PredictConfig, nested, what="the prediction")


def _say_before(config: "PredictConfig", found: "FoundWeights", passed_by: int) -> None:
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    if passed_by:
        typer.echo(f"note: {passed_by} files of the folders are called like no picture: left out", err=True)
    text = found.inference.text
    if text is not None and not config.use_text:
        typer.echo(
            "note: the weights were trained with descriptions; without them they are less accurate", err=True
        )
    if config.engine is not None:
        from mghft.pipeline.engines.model_source import TINY_LLAVA, TINY_LLAVA_IN_MANIFESTS

        model = config.engine.model
        typer.echo(f"describing with {model}, prompt {config.prompt}", err=True)
        if model in (TINY_LLAVA, TINY_LLAVA_IN_MANIFESTS):
            typer.echo("note: tiny-llava is a stand-in that knows emoji only", err=True)


def _shower(
    form: str | None, config: "PredictConfig", labels: tuple[str, ...]
) -> "Callable[[list[Prediction]], None]":
    """Return what shows predictions on standard output; with --out nothing does unless a format is asked."""
    import csv
    import json

    from mghft.inference.journal import csv_header, csv_row
    from mghft.output import escape_control

    if config.out is not None:
        return lambda batch: None
    if form == "jsonl":
        return lambda batch: sys.stdout.writelines(
            json.dumps(one.to_dict(), ensure_ascii=False) + "\n" for one in batch
        )
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(csv_header(labels))
        return lambda batch: writer.writerows(csv_row(one.to_dict(), labels) for one in batch)
    width = max(map(len, labels))

    def show(batch: "list[Prediction]") -> None:
        for one in batch:
            name = escape_control(one.name)
            if one.label is None:
                typer.echo(f"{'–':<{width}}       –  {name}: {escape_control(one.error or '')}")
            else:
                typer.echo(f"{one.label:<{width}}  {one.confidence:6.1%}  {name}")

    return show
