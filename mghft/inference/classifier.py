"""Trained weights on decoded pictures and their views: the forward pass of `mghft eval`, for anything.

Pictures are reduced, cropped and normalised, and texts encoded, exactly as the training's evaluation does it;
a test holds the probabilities equal to those of `mghft eval` within 1e-5.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.data.transforms_factory import transforms_imagenet_eval
from torch import Tensor

from mghft.inference.weights import FoundWeights, find_weights
from mghft.model import MGHFT, TextEncoder, explain
from mghft.model.joint import ENCODER_FOLDER, Network, load_network
from mghft.model.peers import TGCAPVT, TokenEncoder
from mghft.model.visualize import overlay
from mghft.train.data.image_cache import shrink
from mghft.train.data.text_features import features_of, load_encoder
from mghft.train.evaluation.calibration import apply_temperature

# Of an overlay, in pixels: patches of a small network are to be seen.
_OVERLAY_SIDE = 256


class Classifier:
    """A network with all that stands before it.

    Attributes:
        labels: names in index order.
        views: that the network reads, in its order; empty where it reads none.
        reads_own_text: whether it reads the text printed on a sticker.
    """

    def __init__(
        self,
        found: FoundWeights,
        *,
        device: str | torch.device | None = None,
        text_encoder: str | Path | None = None,
    ) -> None:
        """Load network and encoder.

        Args:
            device: None takes a GPU where there is one.
            text_encoder: the encoder's place, where it is not found under the name that the weights say.

        Raises:
            FileNotFoundError, ValueError: a file is missing or damaged, or the encoder is another one.
        """
        config = self.config = found.inference
        self.found, self.labels = found, config.labels
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model: Network = load_network(found.folder).to(self.device).eval()
        classes = self.model.config.num_classes
        if classes != len(self.labels):
            raise ValueError(
                f"{found.folder} has {classes} classes, and its inference.json {len(self.labels)} labels: "
                "they do not belong together"
            )
        if isinstance(self.model, TGCAPVT):
            # A picture of its own has no neighbours that share its topic.
            self.model.set_topic_context("self")
        self.views = () if config.text is None else config.text.views
        self.reads_own_text = config.own_text is not None
        self._encoder = self._load_encoder(text_encoder)
        self._tokens = None
        if config.own_text is not None:
            assert self._encoder is not None
            self._tokens = TokenEncoder(self._encoder, config.own_text.length)
        image = config.image
        self._transform = transforms_imagenet_eval(
            image.side,
            crop_pct=image.crop_pct,
            interpolation=image.interpolation,
            mean=image.mean,
            std=image.std,
        )
        # The same without normalising: exactly what the network sees, to be shown.
        self._crop = transforms_imagenet_eval(
            image.side,
            crop_pct=image.crop_pct,
            interpolation=image.interpolation,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
        )

    @classmethod
    def from_pretrained(cls, source: str | Path, **options: Any) -> Self:
        """Load weights by run folder, folder or hub id; errors as of `find_weights` and the constructor."""
        return cls(find_weights(source), **options)

    def _load_encoder(self, elsewhere: str | Path | None) -> TextEncoder | None:
        wanted = self.config.text or self.config.own_text
        if wanted is None:
            return None
        text = self.config.text
        pooling = "last4_masked_mean" if text is None else text.pooling
        tuned = text is not None and text.tuned
        source = elsewhere or (self.found.folder / ENCODER_FOLDER if tuned else wanted.encoder)
        try:
            encoder = load_encoder(source, pooling, self.device)
        except ValueError as error:
            raise ValueError(f"{error}; name its place with --text-encoder") from error
        fingerprint = None if wanted.fingerprint is None else wanted.fingerprint.partition("-tokens-")[0]
        if fingerprint is not None and encoder.fingerprint() != fingerprint:
            raise ValueError(
                f"the text encoder {source} is not the one that {self.found.name} was trained with "
                f"({wanted.encoder}; other weights, vocabulary or pooling): name that one with --text-encoder"
            )
        return encoder

    @property
    def explains(self) -> bool:
        """Return whether `overlay` can draw what the network looked at: MGHFT with selected patches."""
        return isinstance(self.model, MGHFT) and any(self.model.config.local_token_counts)

    def pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """Return the network's input of RGB images of any sizes, [n, 3, side, side]."""
        short_side = self.config.image.short_side
        return torch.stack([self._transform(shrink(image, short_side)) for image in images])

    def texts(self, views: Mapping[str, str]) -> tuple[str, ...]:
        """Return what each view of the network reads, "" where it is missing.

        Raises:
            ValueError: the network was trained on texts that views do not hold.
        """
        assert self.config.text is not None
        kind = self.config.text.view_texts
        row = tuple((views.get(view) or "").strip() and views[view] for view in self.views)
        if kind == "whole":
            return (" ".join(text for text in row if text),) * len(row)
        if kind == "released":
            raise ValueError(
                f"{self.found.name} was trained on whole texts of imported annotations "
                "(view_texts=released), which views alone are not: evaluate it with `mghft eval`"
            )
        return row

    @torch.inference_mode()
    def probabilities(
        self,
        images: Sequence[Image.Image],
        views: Sequence[Mapping[str, str]] | None = None,
        own_texts: Sequence[str | None] | None = None,
        *,
        calibrated: bool = True,
    ) -> NDArray[np.float64]:
        """Classify pictures as one batch.

        Args:
            images: RGB, of any sizes.
            views: text by view of each; None or a view that is not there: it is missing.
            own_texts: text printed on each, for a network that reads it.
            calibrated: divide the logits by the temperature of the validation split, where it is known.

        Returns:
            [n, classes], rows sum to 1.
        """
        if not images:
            return np.empty((0, len(self.labels)))
        inputs = self._text_inputs(len(images), views, own_texts)
        output = self.model(self.pixels(images).to(self.device), **inputs)
        raw: NDArray[np.float64] = output.logits.double().softmax(dim=1).cpu().numpy()
        temperature = self.config.temperature
        return raw if temperature is None or not calibrated else apply_temperature(raw, temperature)

    def overlay(self, image: Image.Image, views: Mapping[str, str] | None = None) -> Image.Image:
        """Return what the network looked at, laid over what it saw of the picture (see `model.explain`).

        The heat is the fusion's attention to the local patches of the first stage that has some.

        Raises:
            ValueError: the network is no MGHFT, or selects no patches.
        """
        if not isinstance(self.model, MGHFT) or not self.explains:
            raise ValueError(f"{self.found.name} selects no patches, which is what an overlay shows")
        inputs = self._text_inputs(1, None if views is None else [views], None)
        found = explain(self.model, self.pixels([image]).to(self.device), **inputs)
        stage = min(found.selected)
        side = max(_OVERLAY_SIDE, self.config.image.side)
        seen = self._seen(image).resize((side, side), Image.Resampling.NEAREST)
        return overlay(
            seen,
            found.attention_map(stage)[0],
            selected=sorted(set(found.selected[stage][0].flatten().tolist())),
        )

    def _seen(self, image: Image.Image) -> Image.Image:
        pixels = self._crop(shrink(image, self.config.image.short_side))
        return Image.fromarray((pixels * 255).round().byte().permute(1, 2, 0).numpy())

    def _text_inputs(
        self,
        count: int,
        views: Sequence[Mapping[str, str]] | None,
        own_texts: Sequence[str | None] | None,
    ) -> dict[str, Tensor]:
        if self._tokens is not None:
            printed = [(text or "").lower().strip() for text in own_texts or [None] * count]
            return {"text_tokens": self._tokens.encode(printed).to(self.device)}
        if not self.views or views is None:
            return {}
        assert self._encoder is not None
        rows = [self.texts(one) for one in views]
        mask = torch.tensor([[bool(text.strip()) for text in row] for row in rows])
        features = features_of(self._encoder, rows)
        return {"text_features": features.to(self.device), "text_mask": mask.to(self.device)}


def png(image: Image.Image) -> bytes:
    """Return a picture as the bytes of a PNG."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
