"""`mghft audit`: are the descriptions of a run true?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mghft.options import RequiredCard, RequiredData
from mghft.output import print_table


def audit(
    run: Annotated[Path, typer.Argument(help="Run folder of 'mghft describe'.")],
    card: RequiredCard,
    data: RequiredData,
    encoder: Annotated[
        str,
        typer.Option(help="Encoder of pictures and texts: folder or Hugging Face id (CLIP, SigLIP, BLIP)."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of audit.md, audit.json and the page of the worst.")],
    other: Annotated[
        Path | None, typer.Option(help="Another run of the same stickers (seed, prompt, model): agreement.")
    ] = None,
    text_encoder: Annotated[
        str | None, typer.Option(help="For --other: BERT-like encoder, or 'minilm' (default).")
    ] = None,
    cache_dir: Annotated[Path | None, typer.Option(help="Folder of decoded images and vectors.")] = None,
    shown: Annotated[int, typer.Option(min=0, help="How many of the worst texts the page shows.")] = 48,
    no_sidecar: Annotated[
        bool, typer.Option("--no-sidecar", help="Write no audit.parquet beside the shards.")
    ] = False,
) -> None:
    """Judge every view of a run: does it fit its picture better than the same view of other stickers?

    Also: agreement with another run, label words given away, views that name other labels than each other or
    the text on the sticker. Writes audit.parquet beside the shards; `mghft train --set min_picture_rank=0.2`
    leaves out the views below.

    \b
    Examples:
      mghft audit runs/ser30k ser30k --data SER_Dataset --encoder openai/clip-vit-base-patch32 --out audit
      mghft audit runs/a emoji --data demo/data --encoder google/siglip-base-patch16-224 --other runs/b
      --out audit
    """
    from mghft.pipeline.files import check_folder
    from mghft.pipeline.settings import build, given
    from mghft.train.data.audit_ranks import write_sidecar
    from mghft.train.faithfulness.audit import AuditConfig
    from mghft.train.faithfulness.audit import audit as run_audit
    from mghft.train.faithfulness.report import HEADER, NUMERIC, view_row, write_audit

    fields = {
        "run": run,
        "card": card,
        "data": data,
        "encoder": encoder,
        "other": other,
        "text_encoder": text_encoder,
        "cache_dir": cache_dir,
    }
    config = build(AuditConfig, given(fields), what="the audit")
    check_folder(out)
    found = run_audit(config)
    write_audit(out, found, data, count=shown)
    print_table(HEADER, [view_row(one) for one in found.views], numeric=NUMERIC)
    for note in found.notes:
        typer.echo(f"note: {note}")
    if not no_sidecar:
        typer.echo(f"ranks: {write_sidecar(run, found.rows)}")
    typer.echo(f"page: {out / 'index.html'}")
