"""One frozen encoder of images, and of texts where its family has them, behind one interface."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mghft.model.encoders.families import Family, Paired, family_of, freeze


@dataclass(frozen=True)
class ImageVectors:
    """Vectors of images.

    Attributes:
        features: [n, D] before any projection.
        projected: [n, Q, P] normalised, in the space of the texts; None where the family has no texts.
    """

    features: Tensor
    projected: Tensor | None


def _image_processor(source: str) -> Any:
    from transformers import AutoImageProcessor

    return AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
        source, trust_remote_code=False
    )


class ImageTextEncoder:
    """A frozen CLIP-, SigLIP-, BLIP- or BLIP-2-like encoder, or one of images alone, of transformers."""

    def __init__(self, family: Family, processor: Any, tokenizer: Any, name: str) -> None:
        self._family, self._processor, self._tokenizer = family, processor, tokenizer
        self.name = name

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path) -> Self:
        """Load a folder or a Hugging Face id: safetensors weights alone, no code that comes with them.

        Raises:
            ValueError: there is no usable checkpoint, or it encodes no images.
        """
        import transformers

        source = str(name_or_folder)
        safely = {"trust_remote_code": False}
        try:
            config = transformers.AutoConfig.from_pretrained(source, **safely)
            family = family_of(config)
            # Imported by name: transformers offers some families through no automatic class.
            loader = getattr(transformers, family.loader)
            model = loader.from_pretrained(source, use_safetensors=True, **safely)
            processor = _image_processor(source)
            tokenizer = None
            if issubclass(family, Paired):
                tokenizer = transformers.AutoTokenizer.from_pretrained(source, **safely)
        except (OSError, ValueError, KeyError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(
                f"no usable image encoder at {source} ({first}): name a folder or a Hugging Face id that "
                f"holds "
                "config.json, model.safetensors and preprocessor_config.json"
            ) from error
        if lacking := [name for name in family.needs if not hasattr(model, name)]:
            raise ValueError(
                f"{source} is a {config.model_type} without {lacking[0]}, which is no encoder of pictures "
                "and texts that is known here: name one of the kind of CLIP, SigLIP, BLIP, BLIP-2 or ViT"
            )
        return cls(family(freeze(model)), processor, tokenizer, Path(source).name)

    @property
    def reads_text(self) -> bool:
        """Whether texts have vectors in the images' space, so that zero-shot classification is possible."""
        return isinstance(self._family, Paired)

    @property
    def sigmoid(self) -> bool:
        """Whether each label has a probability of its own (SigLIP)."""
        return isinstance(self._family, Paired) and self._family.sigmoid

    @property
    def family(self) -> Family:
        """The model and how its family makes vectors, for whoever trains it."""
        return self._family

    def pixels(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Return RGB images as the encoder reads them, [n, 3, H, W] float32."""
        found: Tensor = self._processor(images=list(pictures), return_tensors="pt")["pixel_values"]
        return found

    def to(self, device: torch.device) -> Self:
        """Move the weights; returns the encoder."""
        self._family.model.to(device)
        return self

    @torch.inference_mode()
    def images(self, pictures: Sequence[Image.Image]) -> ImageVectors:
        """Encode one batch of RGB images; the vectors are float32 on the CPU."""
        pixels = self.pixels(pictures).to(self._family.model.device, self._family.model.dtype)
        features = self._family.features(pixels).float().cpu()
        if not isinstance(self._family, Paired):
            return ImageVectors(features, None)
        return ImageVectors(features, F.normalize(self._family.projected(pixels).float(), dim=-1).cpu())

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Encode texts, [m, P], normalised, float32 on the CPU; longer ones are cut where the tower ends.

        Raises:
            ValueError: the family has no texts.
        """
        family = self._paired()
        inputs = self._tokenizer(
            list(texts),
            # SigLIP was trained with padding to the full length, and without a mask.
            padding="max_length" if self.sigmoid else True,
            truncation=True,
            max_length=self._positions(),
            return_tensors="pt",
        )
        device = self._family.model.device
        wanted = {"input_ids"} if self.sigmoid else {"input_ids", "attention_mask"}
        given = {name: inputs[name].to(device) for name in wanted if name in inputs}
        return F.normalize(family.texts(given).float(), dim=-1).cpu()

    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        """Return logits [n, m] of projected images [n, Q, P] and texts [m, P]; the best of Q counts."""
        family, cosines = self._paired(), (images @ texts.T).amax(dim=1)
        return cosines * family.scale + family.bias

    def fingerprint(self) -> str:
        """Return a hash of all that decides the vectors: weights, configuration, treatment of images."""
        model = self._family.model
        digest = hashlib.sha256(type(self._family).__name__.encode())
        for part in (model.config.to_dict(), self._processor.to_dict()):
            plain = {
                key: value for key, value in part.items() if not key.startswith(("_name", "transformers"))
            }
            digest.update(json.dumps(plain, sort_keys=True, default=str).encode())
        for name, tensor in sorted(model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def _paired(self) -> Paired:
        if not isinstance(self._family, Paired):
            raise ValueError(f"{self.name} encodes images alone: no text can be compared with them")
        return self._family

    def _positions(self) -> int:
        config = getattr(self._family.model.config, "text_config", self._family.model.config)
        found = getattr(config, "max_position_embeddings", None)
        limit = min(int(self._tokenizer.model_max_length), 512)
        return limit if found is None else min(limit, int(found))
