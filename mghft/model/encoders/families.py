"""Families of image(-text) encoders in transformers: how each makes vectors of images and of texts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


def pooled(output: Any) -> Tensor:
    """Return the vector of a forward pass: the pooled one, or the mean over patches where there is none."""
    if isinstance(output, Tensor):
        return output
    if getattr(output, "pooler_output", None) is not None:
        vector: Tensor = output.pooler_output
        return vector
    hidden: Tensor = output.last_hidden_state
    # DINOv2 and the like pool themselves; what is left are maps [n, C, H, W] or patches [n, T, D].
    return hidden.mean(dim=(2, 3)) if hidden.ndim == 4 else hidden.mean(dim=1)


class Family:
    """An encoder of images alone: ViT, DINOv2, Swin, ConvNeXt and whatever else pools an image."""

    # Class of transformers that loads the checkpoint, and what its model has to have.
    loader: ClassVar[str] = "AutoModel"
    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, model: Any) -> None:
        self.model = model

    def features(self, pixels: Tensor) -> Tensor:
        """Return vectors before any projection, [n, D]."""
        return pooled(self.model(pixel_values=pixels))


class Paired(Family, ABC):
    """An encoder of images and of texts in one space.

    Attributes:
        sigmoid: whether probabilities are each label's own, as SigLIP's are trained.
    """

    sigmoid: ClassVar[bool] = False

    @abstractmethod
    def projected(self, pixels: Tensor) -> Tensor:
        """Return vectors in the space of the texts, [n, Q, P], Q of them for an image."""

    @abstractmethod
    def texts(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return vectors of texts in the space of the images, [m, P]."""

    @property
    @abstractmethod
    def scale(self) -> float:
        """Factor of the cosines in the logits."""

    @property
    def bias(self) -> float:
        """Summand of the logits."""
        return 0.0


class Contrastive(Paired):
    """CLIP and what is built like it: two towers, two projections, one scale."""

    needs = ("vision_model", "get_image_features", "get_text_features", "logit_scale")

    def features(self, pixels: Tensor) -> Tensor:
        """Return the vision tower's pooled vectors, [n, D]."""
        return pooled(self.model.vision_model(pixel_values=pixels))

    def projected(self, pixels: Tensor) -> Tensor:
        """Return the projected vectors, [n, 1, P]."""
        return pooled(self.model.get_image_features(pixel_values=pixels)).unsqueeze(1)

    def texts(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the projected vectors, [m, P]."""
        return pooled(self.model.get_text_features(**inputs))

    @property
    def scale(self) -> float:
        """exp(logit_scale), as trained."""
        return float(self.model.logit_scale.detach().exp())

    @property
    def bias(self) -> float:
        """The trained bias, where there is one."""
        bias = getattr(self.model, "logit_bias", None)
        return 0.0 if bias is None else float(bias.detach())


class Sigmoid(Contrastive):
    """SigLIP: every pair of image and text has a probability of its own."""

    sigmoid = True


class BlipCaptioner(Family):
    """BLIP without contrastive heads (captioning, questions): images alone."""

    loader = "BlipForConditionalGeneration"

    def features(self, pixels: Tensor) -> Tensor:
        """Return the vision tower's pooled vectors, [n, D]."""
        return pooled(self.model.vision_model(pixel_values=pixels))


class Blip(BlipCaptioner, Paired):
    """BLIP with its contrastive heads (`blip-itm-…`); its logits have no trained scale."""

    loader = "BlipForImageTextRetrieval"

    def projected(self, pixels: Tensor) -> Tensor:
        """Return the projected class tokens, [n, 1, P]."""
        hidden = self.model.vision_model(pixel_values=pixels).last_hidden_state
        vectors: Tensor = self.model.vision_proj(hidden[:, 0])
        return vectors.unsqueeze(1)

    def texts(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the projected first tokens, [m, P]."""
        hidden = self.model.text_encoder(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
        ).last_hidden_state
        vectors: Tensor = self.model.text_proj(hidden[:, 0])
        return vectors

    @property
    def scale(self) -> float:
        """1 / .07, the temperature that its training starts from (Li et al., ICML 2022, as ALBEF)."""
        return 1 / 0.07


class Blip2Captioner(Family):
    """BLIP-2 with a language model (`blip2-opt-…`): its query tokens, images alone."""

    loader = "Blip2Model"

    def features(self, pixels: Tensor) -> Tensor:
        """Return the mean of the query tokens, [n, D]."""
        return self.queries(pixels).mean(dim=1)

    def queries(self, pixels: Tensor) -> Tensor:
        """Return the query tokens after they have seen the image, [n, Q, D]."""
        seen = self.model.vision_model(pixel_values=pixels).last_hidden_state
        queries = self.model.query_tokens.expand(len(seen), -1, -1)
        mask = torch.ones(seen.shape[:2], dtype=torch.long, device=seen.device)
        found = self.model.qformer(
            query_embeds=queries, encoder_hidden_states=seen, encoder_attention_mask=mask
        )
        vectors: Tensor = found.last_hidden_state
        return vectors


class Blip2(Blip2Captioner, Paired):
    """BLIP-2 with its contrastive heads (`blip2-itm-…`): 32 query tokens an image, the best one counts."""

    loader = "Blip2ForImageTextRetrieval"

    def projected(self, pixels: Tensor) -> Tensor:
        """Return the projected query tokens, [n, Q, P]."""
        vectors: Tensor = self.model.vision_projection(self.queries(pixels))
        return vectors

    def texts(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the projected first tokens, [m, P]."""
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        hidden = self.model.qformer(
            query_embeds=self.model.embeddings(input_ids=ids), query_length=0, attention_mask=mask
        ).last_hidden_state
        vectors: Tensor = self.model.text_projection(hidden[:, 0])
        return vectors

    @property
    def scale(self) -> float:
        """1 / .07, as BLIP's."""
        return 1 / 0.07


def family_of(config: Any) -> type[Family]:
    """Return the family of a checkpoint by its configuration."""
    kind, architectures = config.model_type, tuple(getattr(config, "architectures", None) or ())
    if kind in ("blip", "blip-2"):
        with_heads = any("ImageTextRetrieval" in name for name in architectures)
        if kind == "blip":
            return Blip if with_heads else BlipCaptioner
        return Blip2 if with_heads else Blip2Captioner
    if kind.startswith("siglip") and hasattr(config, "text_config"):
        return Sigmoid
    if hasattr(config, "text_config") and hasattr(config, "vision_config"):
        return Contrastive
    return Family


def freeze(model: nn.Module) -> nn.Module:
    """Return the module in evaluation mode, without gradients."""
    return model.eval().requires_grad_(False)
