"""inference.json beside the weights: all that turns a sticker and its views into probabilities.

With it the folder is enough: whoever has the weights needs neither the run's configuration nor its corpus.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mghft.pipeline.settings import first_fault
from mghft.train.options import READS_OWN_TEXT, Pooling, ViewTexts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mghft.train.config import TrainConfig

FILE_NAME = "inference.json"
# timm's IMAGENET_DEFAULT_MEAN and _STD, by which its transforms normalise: importing it takes seconds.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# The file takes some kilobytes; a corpus has a thousand labels at most.
_MAX_BYTES = 2**20


class ImageInput(BaseModel):
    """How an image becomes the network's input.

    Attributes:
        side: of the square input, in pixels.
        short_side: a longer short side is first reduced to this, bicubic, as in the trainer's cache.
        crop_pct: share of the resized short side that the central crop takes.
        interpolation: of the second resizing.
        mean, std: per channel of RGB from 0 to 1.
        background: RGB on which transparency is laid.
        frame: of an animation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    side: int = Field(ge=16, le=4096)
    short_side: int = Field(ge=16, le=8192)
    crop_pct: float = Field(gt=0, le=1)
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    mean: tuple[float, float, float] = _MEAN
    std: tuple[float, float, float] = _STD
    background: tuple[int, int, int] = (255, 255, 255)
    frame: Literal["first"] = "first"


class TextInput(BaseModel):
    """How the views of a sticker become features.

    Attributes:
        encoder: a folder, a Hugging Face id or "minilm"; with `tuned` the folder text_encoder beside.
        fingerprint: of the encoder; None where it was tuned.
        views: in the network's order.
        view_texts: what a view reads, as in the training's configuration.
        described_by: model that wrote the descriptions that were learnt from, where that is known.
        prompt: name of the prompt pack that it was asked with, likewise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str
    pooling: Pooling
    views: tuple[str, ...]
    view_texts: ViewTexts = "own"
    tuned: bool = False
    fingerprint: str | None = None
    described_by: str | None = None
    prompt: str | None = None


class OwnTextInput(BaseModel):
    """How the text printed on a sticker becomes features, for a peer that reads it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str
    length: int = Field(ge=1, le=512)
    fingerprint: str | None = None


class InferenceConfig(BaseModel):
    """The use of trained weights.

    Attributes:
        labels: names in index order.
        temperature: the logits are divided by it before the softmax (Guo et al., ICML 2017); fitted on the
            validation split. None where it is unknown.
        corpus: title of what was learnt from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    labels: tuple[str, ...] = Field(min_length=2)
    image: ImageInput
    text: TextInput | None = None
    own_text: OwnTextInput | None = None
    temperature: float | None = Field(default=None, gt=0)
    corpus: str = ""


def inference_config(
    config: TrainConfig,
    *,
    labels: tuple[str, ...],
    image_size: int,
    views: tuple[str, ...],
    corpus: str,
    fingerprint: str | None = None,
    text_length: int | None = None,
) -> InferenceConfig:
    """Return the use of the weights that a training gives, but for the temperature.

    Args:
        config: of the training.
        labels: names in index order.
        image_size: side of the network's input.
        views: that the network reads, in its order.
        corpus: its title.
        fingerprint: of the frozen encoder, of views or of the text on the sticker.
        text_length: tokens of the text on the sticker, for a network that reads it.
    """
    augmentation = config.augmentation
    image = ImageInput(
        side=image_size,
        short_side=2 * image_size,
        crop_pct=augmentation.crop_pct,
        interpolation="bilinear" if augmentation.interpolation == "bilinear" else "bicubic",
    )
    text = own_text = None
    if config.text is not None:
        model, prompt = _described_by(config.text.descriptions)
        text = TextInput(
            encoder=_anywhere(config.text_encoder),
            pooling=config.text_pooling,
            views=views,
            view_texts=config.view_texts,
            tuned=config.tune_text_encoder,
            fingerprint=None if config.tune_text_encoder else fingerprint,
            described_by=model,
            prompt=prompt,
        )
    elif config.network in READS_OWN_TEXT:
        assert text_length is not None
        own_text = OwnTextInput(
            encoder=_anywhere(config.text_encoder), length=text_length, fingerprint=fingerprint
        )
    return InferenceConfig(labels=labels, image=image, text=text, own_text=own_text, corpus=corpus)


def read_inference(folder: Path) -> InferenceConfig | None:
    """Read the file in a folder of weights; None where there is none, as beside weights of before.

    Raises:
        ValueError: it is damaged, or a later version wrote it; one sentence.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"{path} is larger than {_MAX_BYTES} bytes, which no such file is")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ValueError(f"{path} is damaged: it is no JSON") from None
    if isinstance(content, dict) and content.get("format") not in (None, 1):
        raise ValueError(f"{path} is of format {content['format']!r}: a later version of mghft reads it")
    try:
        return InferenceConfig.model_validate(content)
    except ValidationError as error:
        raise ValueError(first_fault(error, str(path), InferenceConfig)) from None


def _anywhere(encoder: str) -> str:
    """Return a name that means the same encoder from every working folder."""
    return str(Path(encoder).resolve()) if Path(encoder).is_dir() else encoder


def _described_by(run_folder: Path) -> tuple[str | None, str | None]:
    """Return the names of model and prompt pack, as far as the run folder tells."""
    try:
        manifest: Mapping[str, object] = json.loads(
            (run_folder / "manifest.json").read_text(encoding="utf-8")
        )
    except (OSError, ValueError):
        return None, None

    def name(part: str) -> str | None:
        content = manifest.get(part) if isinstance(manifest, dict) else None
        found = content.get("name") if isinstance(content, dict) else None
        return found if isinstance(found, str) else None

    return name("model"), name("prompt")
