"""Starting from the weights of another model; continuing a run is another thing (`resume`)."""

from __future__ import annotations

import json
from pathlib import Path

from mghft.model import MGHFT
from mghft.model.joint import ENCODER_FOLDER


def load_initial(model: MGHFT, source: str, labels: tuple[str, ...], text_encoder: str | None = None) -> str:
    """Copies what fits into `model` and says in one sentence what was left out.

    The backbone must fit. What depends on classes, text encoder or number of tokens may differ and is then
    new; the head also where the labels are others, as far as the source says which it knows.

    Args:
        source: a run folder of `mghft train`, a folder with a model, or an id on the Hugging Face Hub.
        labels: of this run, in order.
        text_encoder: of this run, None for one without text.

    Raises:
        FileNotFoundError, ValueError: there is no usable model, or its backbone is of another shape.
    """
    folder = Path(source)
    best = folder / "best" if (folder / "best").is_dir() else folder
    given = MGHFT.from_pretrained(best if best.is_dir() else source)
    theirs = _labels(best)
    tensors, wanted = given.state_dict(), model.state_dict()
    other = [
        name
        for name, value in wanted.items()
        if name.startswith("backbone.") and (name not in tensors or tensors[name].shape != value.shape)
    ]
    if other:
        raise ValueError(
            f"init_from: the backbone of {source} has another shape ({other[0]}): "
            "give the same model.* settings as it was trained with"
        )
    fitting = {name: value for name, value in tensors.items() if _fits(value, wanted.get(name))}
    if theirs is not None and theirs != labels:
        fitting = {name: value for name, value in fitting.items() if not name.startswith("head.")}
    model.load_state_dict(fitting, strict=False)
    new = sorted({name.partition(".")[0] for name in wanted.keys() - fitting.keys()})
    sentence = f"started from {source}: {len(fitting)} of {len(wanted)} tensors"
    sentence += f"; new are {', '.join(new)}" if new else "; nothing was left out"
    if "head" in new and theirs is not None:
        sentence += f" (the head there knows {', '.join(theirs)})"
    elif "head" not in new and theirs is None:
        sentence += " (the head is kept: nothing there says which labels it knows)"
    trained = best / ENCODER_FOLDER
    if text_encoder is not None and trained.is_dir() and Path(text_encoder).resolve() != trained.resolve():
        sentence += f"; its text encoder was trained along, take it too by --set text_encoder={trained}"
    return sentence


def _fits(value: object, wanted: object) -> bool:
    return getattr(value, "shape", None) == getattr(wanted, "shape", ())


def _labels(best: Path) -> tuple[str, ...] | None:
    """Labels of the run that the weights lie in."""
    try:
        resolved = json.loads((best.parent / "config.json").read_text(encoding="utf-8"))
        return tuple(resolved["labels"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
