"""`mghft probe`: frozen encoders of other people as peers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mghft.output import print_table


def probe(
    model: Annotated[
        str | None,
        typer.Argument(help="Image encoder: folder or Hugging Face id (CLIP, SigLIP, BLIP, BLIP-2, ViT, …)."),
    ] = None,
    card: Annotated[str | None, typer.Option(help="The corpus: a data card.")] = None,
    data: Annotated[Path | None, typer.Option(help="Root folder of the corpus.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of predictions.parquet and probe.json.")] = None,
    descriptions: Annotated[
        Path | None, typer.Option(help="Run of `mghft describe`: rows of each view and of all.")
    ] = None,
    text_encoder: Annotated[
        str | None, typer.Option(help="BERT-like encoder: id, folder or 'minilm' (default).")
    ] = None,
    ways: Annotated[
        list[str] | None,
        typer.Option(
            "--way",
            help="zero-shot, linear, image+text, text, fine-tune; repeat. Default: all but fine-tune.",
        ),
    ] = None,
    seeds: Annotated[
        list[int] | None, typer.Option("--seed", help="Seeds of fine-tuning; repeat. Default 1, 2, 3.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of fine-tuning; default 10.")] = None,
    split: Annotated[list[str] | None, typer.Option(help="Splits; repeat. Default validation, test.")] = None,
    cache_dir: Annotated[Path | None, typer.Option(help="Folder of decoded images and vectors.")] = None,
) -> None:
    """Judge frozen encoders: zero-shot, linear probe, image and text together, texts alone.

    The word after the colon of each row is its protocol: zero-shot sees no label of the corpus; a probe is
    fitted on train, its strength chosen on validation by macro F1.

    \b
    Examples:
      mghft probe openai/clip-vit-base-patch32 --card ser30k --data SER_Dataset --out runs/clip
      mghft probe google/siglip-base-patch16-224 --card emoji --data demo/data \\
        --descriptions demo/descriptions --out runs/siglip
      mghft probe openai/clip-vit-base-patch32 --card ser30k --data SER_Dataset --way fine-tune --out
      runs/tuned mghft probe --card emoji --data demo/data --descriptions demo/descriptions --out runs/texts
    """
    from mghft.pipeline.files import check_folder, write_json
    from mghft.pipeline.settings import build, given
    from mghft.train.encoders.probe import ProbeConfig
    from mghft.train.encoders.probe import probe as run

    fields = {
        "model": model,
        "card": card,
        "data": data,
        "out": out,
        "descriptions": descriptions,
        "text_encoder": text_encoder,
        "ways": tuple(ways) if ways else None,
        "splits": tuple(split) if split else None,
        "seeds": tuple(seeds) if seeds else None,
        "epochs": epochs,
        "cache_dir": cache_dir,
    }
    config = build(ProbeConfig, given(fields), what="the probe")
    check_folder(config.out)
    judged, table = run(config)
    from mghft.pipeline.predictions import FILE_NAME, write_predictions
    from mghft.train.comparison.compare import CompareConfig, compare
    from mghft.train.comparison.text import HEADER, NUMERIC, section_title, system_row

    config.out.mkdir(parents=True, exist_ok=True)
    write_predictions(config.out / FILE_NAME, table)
    write_json(config.out / "probe.json", {"systems": judged.facts, "notes": judged.notes})
    last = config.splits[-1]
    comparison = compare(CompareConfig(sources=(str(config.out),), split=last))
    for section in comparison.sections:
        typer.echo(section_title(comparison, section))
        print_table(HEADER, [system_row(one) for one in section.systems], numeric=NUMERIC)
    for note in judged.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"predictions: {config.out / FILE_NAME} (compare them with `mghft compare`)")
