"""Commands on the model: model info, and convert, which the root names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mghft.commands.model_facts import cost_facts, cost_remarks, cost_rows, texts_read
from mghft.output import print_table
from mghft.pipeline.text import NAMED, first_and_more

if TYPE_CHECKING:
    from mghft.model.config import MGHFTConfig
    from mghft.model.peers.config import PeerConfig

BERT_BASE = "bert-base-uncased"
BERT_BASE_WIDTH = 768

ImageSizeOption = Annotated[int | None, typer.Option(help="Side of the image in pixels.")]
LocalsOption = Annotated[
    str | None, typer.Option("--locals", help="Stages with local tokens, first stage first, such as 1110.")
]
AlphaOption = Annotated[int | None, typer.Option(help="Patches kept per head, times the reduction squared.")]
BackboneOption = Annotated[
    Literal["tiny", "small", "medium", "large"] | None,
    typer.Option(help="Size of PVT: tiny, small, medium or large."),
]
NetworkOption = Annotated[
    Literal["mghft", "pvt", "pvt-bert", "lora-v", "lora", "tgca-pvt"] | None,
    typer.Option(help="mghft, or a peer of it: pvt, pvt-bert, lora-v, lora, tgca-pvt."),
]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Facts about the model.

    \b
    Example:
      mghft model info default
    """


@app.command()
def info(
    name: Annotated[
        str, typer.Argument(help="Preset (default, official, tiny) or a folder with config.json.")
    ] = "default",
    image_size: ImageSizeOption = None,
    local_stages: LocalsOption = None,
    alpha: AlphaOption = None,
    backbone: BackboneOption = None,
    network: NetworkOption = None,
    text_encoder: Annotated[
        str | None,
        typer.Option(
            help="Also count this text encoder: minilm, a folder or a Hugging Face id; 'none' for none. "
            f"Default: {BERT_BASE} where the text features are as wide as its."
        ),
    ] = None,
    text_tokens: Annotated[
        int | None,
        typer.Option(
            help="Length of a text, for the text encoder's count. Default: 512, of a peer what it reads."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count parameters and operations of a preset or of a trained model, MGHFT or a peer, part by part.

    FLOPs are of one forward pass for one sticker; a multiply-add counts as two. Only matrix products,
    convolutions and attention are counted. The text encoder runs once per sticker, before training.

    \b
    Examples:
      mghft model info official
      mghft model info --backbone medium --image-size 224 --alpha 4
      mghft model info official --network tgca-pvt
      mghft model info demo/runs/text/best --json
    """
    from mghft.model.cost import model_cost, text_encoder_cost

    config = _config(name, _fields(image_size, local_stages, alpha, backbone), network)
    texts, length = texts_read(config)
    text_tokens = length if text_tokens is None else text_tokens
    cost = model_cost(config)
    if text_encoder is None:
        text_encoder = BERT_BASE if config.use_text and config.text_dim == BERT_BASE_WIDTH else "none"
    encoder = None
    if text_encoder != "none":
        encoder = text_encoder_cost(text_encoder, texts=texts, tokens=text_tokens)
    if as_json:
        typer.echo(json.dumps(cost_facts(config, cost, encoder, text_tokens), indent=2))
        return
    print_table(["", "parameters", "GFLOPs"], cost_rows(cost, encoder), numeric=(1, 2))
    for line in cost_remarks(config, cost, encoder, text_tokens):
        typer.echo(line)


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN", help="A .pth or .safetensors file, a folder, or a Hugging Face id of PVT's weights."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder to write: config.json, model.safetensors, README.md.")],
    text_encoder: Annotated[
        Path | None,
        typer.Option(help="Also write the text encoder of a released checkpoint into this folder."),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="With --text-encoder: folder or Hugging Face id to copy the tokenizer from."),
    ] = None,
    text_heads: Annotated[
        int | None, typer.Option(help="With --text-encoder: its attention heads; default: width / 64.")
    ] = None,
    image_size: ImageSizeOption = None,
    local_stages: LocalsOption = None,
    alpha: AlphaOption = None,
    backbone: BackboneOption = None,
    network: NetworkOption = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes; default: as in IN, or 7.")] = None,
    names: Annotated[bool, typer.Option("--names", help="List every name, not the first few.")] = False,
) -> None:
    """Turn weights made elsewhere into a folder that MGHFT.from_pretrained loads.

    IN is a checkpoint of the released code of MGHFT, LORA or TGCA-PVT, or PVT's ImageNet weights (its
    authors' file, or PVT in transformers): then everything but the backbone is new. Nothing in IN is run.
    Network and dimensions are read off names and shapes; an option that contradicts them is refused.
    A folder of LORA, TGCA-PVT or PVT is loaded by mghft.model.peers.load_peer.

    \b
    Examples:
      mghft convert checkpoint.pth converted --text-encoder converted-bert
      mghft convert pvt_small.pth start --classes 7
      mghft convert pvt_small.pth start-lora --network lora
    """
    from pydantic import ValidationError

    from mghft.model.config import MGHFTConfig
    from mghft.model.convert import convert_checkpoint
    from mghft.model.peers.config import PeerConfig
    from mghft.pipeline.settings import first_fault, given

    if text_encoder is None and (tokenizer or text_heads):
        raise ValueError("--tokenizer and --text-heads go with --text-encoder: give that too")
    for folder in filter(None, (out, text_encoder)):
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            raise ValueError(f"{folder} already exists and is not empty: choose another folder")
    if text_encoder is not None and text_encoder.resolve() == out.resolve():
        raise ValueError("the model and its text encoder need a folder each: choose another --text-encoder")
    wanted = given({**_fields(image_size, local_stages, alpha, backbone), "num_classes": classes})
    try:
        result = convert_checkpoint(source, network=network, **wanted)
    except ValidationError as error:
        kind = MGHFTConfig if network in (None, "mghft") else PeerConfig
        raise ValueError(first_fault(error, "the model configuration", kind)) from None
    left_over = list(result.left_over)
    encoder = [f"text_model.{name}" for name in result.text_encoder]
    if text_encoder is not None:
        from mghft.model.convert_text_encoder import save_text_encoder

        if not result.text_encoder:
            raise ValueError(f"{source} holds no text encoder (no text_model.*): leave --text-encoder out")
        left_over += save_text_encoder(
            result.text_encoder, text_encoder, heads=text_heads, tokenizer=tokenizer
        )
    card = {"license": None, "origin": f"Weights converted from: {result.kind}. Their makers' terms apply."}
    result.model.save_pretrained(out, model_card_kwargs=card)
    typer.echo(f"{source}: {result.kind}")
    typer.echo(f"used: {_listed(result.used, names)}")
    typer.echo(f"missing, made new: {_listed(result.missing, names)}")
    typer.echo(f"left over: {_listed(left_over, names)}")
    if text_encoder is None:
        if encoder:
            typer.echo(f"left over, text encoder (--text-encoder writes it): {_listed(encoder, names)}")
    else:
        typer.echo(f"written: {text_encoder}, a BERT of {len(encoder)} tensors")
        if tokenizer is None:
            typer.echo(f"note: {text_encoder} has no tokenizer, no checkpoint has one: see --tokenizer")
    config = result.model.config
    typer.echo(
        f"written: {out}, {config.title} of {config.num_classes} classes, {config.image_size} px, "
        f"local stages {config.local_flags}, alpha {config.alpha}"
    )


def _fields(
    image_size: int | None, local_stages: str | None, alpha: int | None, backbone: str | None
) -> dict[str, Any]:
    """Those of the options that were given, as fields of the configuration."""
    from mghft.pipeline.settings import given

    fields: dict[str, Any] = {"image_size": image_size, "alpha": alpha}
    if local_stages is not None:
        if len(local_stages) != 4 or set(local_stages) - {"0", "1"}:
            raise ValueError(f"--locals is {local_stages!r}: give a 0 or 1 for each stage, such as 1110")
        fields["local_stages"] = tuple(flag == "1" for flag in local_stages)
    if backbone is not None:
        from mghft.model.weights_shapes import PVT_DEPTHS

        if backbone not in PVT_DEPTHS:
            raise ValueError(f"--backbone is {backbone!r}: choose one of {', '.join(PVT_DEPTHS)}")
        fields["depths"] = PVT_DEPTHS[backbone]
    return given(fields)


def _config(name: str, fields: dict[str, Any], network: str | None) -> MGHFTConfig | PeerConfig:
    """Return the configuration of a preset or of a saved model, with some fields replaced."""
    from mghft.model.config import PRESETS, MGHFTConfig
    from mghft.model.hub import MODEL_TYPE, read_config, saved_type
    from mghft.model.peers.base import Peer
    from mghft.model.peers.config import NETWORKS, PEER_PRESETS, PeerConfig
    from mghft.pipeline.settings import build

    if network not in (None, MODEL_TYPE, *NETWORKS):
        raise ValueError(f"--network is {network!r}: choose one of {', '.join((MODEL_TYPE, *NETWORKS))}")
    path = Path(name) / "config.json"
    kind: type[MGHFTConfig] | type[PeerConfig] = MGHFTConfig
    known: MGHFTConfig | PeerConfig
    if name in PRESETS and network in (None, MODEL_TYPE):
        known = MGHFTConfig.preset(name)
    elif name in PEER_PRESETS:
        kind, known = PeerConfig, PeerConfig.preset(name, network=network)
    elif path.is_file():
        try:
            if (saved := saved_type(name)) == Peer.model_type:
                kind = PeerConfig
            known = read_config(path, kind, saved if kind is PeerConfig else MODEL_TYPE)
        except ValueError as error:
            raise ValueError(
                f"{path} is not the configuration of an MGHFT model or of a peer ({error}): "
                "give a folder 'best' of 'mghft train'"
            ) from None
        if network not in (None, getattr(known, "network", MODEL_TYPE)):
            raise ValueError(f"{path} is of {known.title}, not of {network}: leave --network out")
    else:
        raise ValueError(
            f"'{name}' is neither a preset nor a folder with a config.json: "
            f"the presets are {', '.join(PRESETS)}"
        )
    return build(kind, known.model_dump(), fields, what="the model configuration")


def _listed(names: Sequence[str], every: bool) -> str:
    """ "3 (a, b, c)", or "9 (a, b, c and 6 more)" where not every name is wanted."""
    if not names:
        return "0"
    return f"{len(names)} ({first_and_more(names, len(names) if every else NAMED)})"
