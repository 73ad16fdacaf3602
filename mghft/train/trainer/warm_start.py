"""Starting from the weights of another model; going on with a run is another thing (`resume`)."""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor

from mghft.model.joint import ENCODER_FOLDER, Network, load_network


def load_initial(
    model: Network, source: str, labels: tuple[str, ...], text_encoder: str | None = None
) -> str:
    """Copy the weights that fit into `model`; return in one sentence which are left out.

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
    tensors = load_network(best if best.is_dir() else source).state_dict()
    source_labels = _labels(best)
    wanted = model.state_dict()
    misfits = [name for name in wanted if name.startswith("backbone.") and not _fits(name, tensors, wanted)]
    if misfits:
        raise ValueError(
            f"init_from: the backbone of {source} has another shape ({misfits[0]}): "
            "give the same model.* settings as it was trained with"
        )
    fitting = {name: tensors[name] for name in wanted if _fits(name, tensors, wanted)}
    if source_labels is not None and source_labels != labels:
        fitting = {name: value for name, value in fitting.items() if not name.startswith("head.")}
    model.load_state_dict(fitting, strict=False)
    new = sorted({name.partition(".")[0] for name in wanted.keys() - fitting.keys()})
    sentence = f"started from {source}: {len(fitting)} of {len(wanted)} tensors"
    sentence += f"; new are {', '.join(new)}" if new else "; nothing was left out"
    if "head" in new and source_labels is not None:
        sentence += f" (the head there knows {', '.join(source_labels)})"
    elif "head" not in new and source_labels is None:
        sentence += " (the head is kept: nothing there says which labels it knows)"
    trained = best / ENCODER_FOLDER
    if text_encoder is not None and trained.is_dir() and Path(text_encoder).resolve() != trained.resolve():
        sentence += f"; its text encoder was trained along, take it too by --set text_encoder={trained}"
    return sentence


def _fits(name: str, tensors: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return name in tensors and tensors[name].shape == wanted[name].shape


def _labels(best: Path) -> tuple[str, ...] | None:
    """Return the labels of the run that the weights lie in, None outside a run."""
    try:
        resolved = json.loads((best.parent / "config.json").read_text(encoding="utf-8"))
        return tuple(resolved["labels"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
