"""Cost of MGHFT or a peer: parameters, floating-point operations and memory of activations, part by part.

Counted on tensors without data, so it takes seconds for any size. One multiply-add is two operations; matrix
products, convolutions and attention are counted; elementwise work, softmax, norms, resizing and Fourier
transforms are not.
"""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode

from mghft.model.config import MGHFTConfig
from mghft.model.joint import Network, new_network
from mghft.model.peers.config import PeerConfig
from mghft.model.reattention import reattention_indices
from mghft.model.text_encoder import BUNDLED, bundled_folder

BERT_BASE = "bert-base-uncased"
# Parameters of `transformers.BertModel(BertConfig())`, whose defaults are bert-base-uncased.
BERT_BASE_PARAMETERS = 109_482_240
# Products outside any module are of this part.
_SOFT_FUSION = "soft fusion"
# Parts of the table, and the modules and parameters of a network that each of them sums up.
_STAGES: dict[str, tuple[str, ...]] = {
    f"backbone stage {stage + 1}": (f"backbone.stages.{stage}",) for stage in range(4)
}
_PARTS: dict[str, tuple[str, ...]] = {
    **_STAGES,
    "frequency modules": ("frequency",),
    "local re-attention": (),
    "local projections": ("local_projections",),
    "global projections": ("global_projections",),
    "view projection": ("view_projection", "missing_view_embedding"),
    "stage text projections": ("stage_text_projections",),
    "topic contexts": ("topic_contexts",),
    _SOFT_FUSION: (),
    "fusion inputs": ("token_norm", "visual_projection", "text_projection", "token_positions"),
    "text-guided fusion": ("fusion",),
    "head": ("head",),
}
_PVT_PARTS = {**_STAGES, _SOFT_FUSION: (), "token norm": ("token_norm",), "head": ("head",)}
_ALL_DEPTHS = 99
# Made by the released code and never read by it: norm_t (weight and bias) and tau.
_UNREAD_BY_RELEASE = 1


class PartCost(NamedTuple):
    """Parameters and operations (forward, one sticker) of a part."""

    name: str
    parameters: int
    flops: int


class Cost(NamedTuple):
    """Cost of one sticker.

    Args:
        parts: disjoint; their sums are the model's.
        forward_bytes: most that activations take at one time in evaluation, float32.
        training_bytes: what activations take between forward and backward, float32, nothing dropped.
    """

    parts: list[PartCost]
    forward_bytes: int
    training_bytes: int

    @property
    def parameters(self) -> int:
        """Parameters of all parts."""
        return sum(part.parameters for part in self.parts)

    @property
    def flops(self) -> int:
        """Operations of all parts."""
        return sum(part.flops for part in self.parts)


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of the tensors that operations made and somebody still holds: `now`, and the highest, `peak`.

    Views share the bytes of their base. Scratch memory inside a kernel is not seen.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def ignore(self, tensors: Any) -> None:
        """Leave tensors out that exist already: inputs and parameters."""
        for tensor in tensors:
            self._watch(tensor, size=0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, Tensor):
                self._watch(tensor, size=tensor.untyped_storage().nbytes())
        return result

    def _watch(self, tensor: Tensor, *, size: int) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return

        def gone(_: Any) -> None:
            self.now -= size
            del self._known[key]

        self._known[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


def count_parameters(config: MGHFTConfig | PeerConfig) -> dict[str, int]:
    """Count the parameters of every top-level module and in total, the text encoder not included.

    Nothing is allocated.
    """
    counts: dict[str, int] = {}
    for name, parameter in _empty_model(config).named_parameters():
        module = name.split(".")[0]
        counts[module] = counts.get(module, 0) + parameter.numel()
    return {**counts, "total": sum(counts.values())}


def released_parameters(config: MGHFTConfig, text_encoder: int) -> int:
    """Count MGHFT's parameters as its released code has them: without stand-ins, with norm_t and tau.

    Of a peer see `mghft.model.peers.released_parameters`.

    Args:
        config: of the model.
        text_encoder: parameters of the text encoder, which the released code trains along.
    """
    counts = count_parameters(config)
    unread = 2 * config.embed_dims[3] + _UNREAD_BY_RELEASE
    return counts["total"] - counts.get("missing_view_embedding", 0) + unread + text_encoder


def model_cost(config: MGHFTConfig | PeerConfig, image_size: int | None = None) -> Cost:
    """Measure the model without its text encoder, for one sticker, on tensors without data.

    Args:
        config: of the model.
        image_size: side in pixels; default: the configuration's.

    Raises:
        ValueError: the side does not fit the model.
    """
    side = image_size or config.image_size
    config.check_image_size(side, side)
    # With drop path the memory hangs on how many samples are kept, and tensors without data can't tell.
    model = _empty_model(config.model_copy(update={"drop_path": 0.0}))
    state = {name: (value.shape, value.requires_grad) for name, value in _tensors(model).items()}
    with FakeTensorMode():
        weights = {
            name: torch.empty(shape).requires_grad_(trained) for name, (shape, trained) in state.items()
        }
        image = torch.empty(1, 3, side, side)
        text, topics = _text(config), {}
        if isinstance(config, PeerConfig) and config.reads_topic:
            topics = {"topics": torch.zeros(1, dtype=torch.long)}
        inputs = [*weights.values(), image, *text.values()]
        counter, live = _counter(), LiveBytes()
        live.ignore(inputs)
        with torch.no_grad(), counter, live:
            functional_call(model.eval(), weights, (image,), {**text, **topics})
        reattention = _reattention_flops(model, weights, image, config)
        saved = LiveBytes()
        saved.ignore(inputs)
        with saved:
            label = torch.zeros(1, dtype=torch.long)
            output = functional_call(model.train(), weights, (image,), {**text, **topics, "labels": label})
            training_bytes = saved.now
        del output
    counts = counter.get_flop_counts()
    table = _PVT_PARTS if config.title == "PVT" else _PARTS
    root = type(model).__name__
    flops = {part: sum(_flops(counts, f"{root}.{name}") for name in names) for part, names in table.items()}
    flops["local re-attention"] = reattention
    # The remaining products are outside any module: global soft fusion.
    flops[_SOFT_FUSION] = counter.get_total_flops() - sum(flops.values())
    parameters = {
        part: sum(value.numel() for name, value in model.named_parameters() if name.startswith(names))
        for part, names in table.items()
    }
    parts = [PartCost(name, parameters[name], flops[name]) for name in table]
    return Cost([part for part in parts if part.parameters or part.flops], live.peak, training_bytes)


def text_encoder_cost(name_or_folder: str, *, texts: int, tokens: int) -> PartCost:
    """Measure the encoding of one sticker's texts.

    Args:
        name_or_folder: as for `TextEncoder.from_pretrained`; only its configuration is read, and
            for "bert-base-uncased" no file at all.
        texts: texts per sticker.
        tokens: length of each.

    Raises:
        ValueError: the configuration does not exist, or its model can't take that many tokens.
    """
    if tokens < 1:
        raise ValueError(f"a text of {tokens} tokens can't be encoded: give at least 1")
    if name_or_folder == BERT_BASE:
        _check_length(name_or_folder, tokens, limit=512)
        return PartCost(f"text encoder ({BERT_BASE})", BERT_BASE_PARAMETERS, texts * _bert_base_flops(tokens))
    from transformers import AutoConfig, AutoModel  # seconds to import

    source = bundled_folder() if name_or_folder == BUNDLED else name_or_folder
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        with torch.device("meta"):
            encoder = AutoModel.from_config(config, attn_implementation="eager")  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no configuration of a text encoder at {name_or_folder}: name a folder or a Hugging Face id"
        ) from error
    _check_length(name_or_folder, tokens, limit=getattr(config, "max_position_embeddings", tokens))
    counter = _counter()
    with torch.device("meta"), torch.no_grad(), counter:
        encoder.eval()(torch.zeros(texts, tokens, dtype=torch.long))
    count = sum(parameter.numel() for parameter in encoder.parameters())
    return PartCost(f"text encoder ({name_or_folder})", count, counter.get_total_flops())


def _check_length(name: str, tokens: int, *, limit: int) -> None:
    if tokens > limit:
        raise ValueError(f"{name} takes texts of at most {limit} tokens, not {tokens}: ask for fewer")


def _bert_base_flops(tokens: int) -> int:
    """Of one text: 12 layers of width 768 with an MLP of 3072, and the pooler (Devlin et al., NAACL 2019)."""
    layers, width, hidden = 12, 768, 3072
    products = 2 * tokens * (4 * width**2 + 2 * width * hidden)
    attention = 2 * 2 * tokens**2 * width
    return layers * (products + attention) + 2 * width**2


def _empty_model(config: MGHFTConfig | PeerConfig) -> Network:
    with torch.device("meta"):
        return new_network(config)


def _text(config: MGHFTConfig | PeerConfig) -> dict[str, Tensor]:
    """Return what the network reads of one sticker's texts, by the name of its argument."""
    if not config.use_text:
        return {}
    if isinstance(config, PeerConfig):
        return {"text_tokens": torch.empty(1, config.text_length, config.text_dim)}
    return {"text_features": torch.empty(1, len(config.views), config.text_dim)}


def _tensors(model: Network) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _reattention_flops(
    model: Network, weights: dict[str, Tensor], image: Tensor, config: MGHFTConfig | PeerConfig
) -> int:
    prefix = "backbone."
    own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    counter = _counter()
    with torch.no_grad():
        stages = functional_call(model.get_submodule("backbone"), own, (image,))
        with counter:
            for stage, (_, _, queries_keys) in enumerate(stages):
                if config.local_token_counts[stage]:
                    count = config.alpha * config.sr_ratios[stage] ** 2
                    reattention_indices(queries_keys, count=count, last_stage=stage == 3)
    return counter.get_total_flops()


def _counter() -> FlopCounterMode:
    # torch has no formula for its fused attention on CPUs, and would count nothing.
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return FlopCounterMode(display=False, depth=_ALL_DEPTHS, custom_mapping={fused: _attention_flops})


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    batch, heads, rows, width = query
    return cast(int, 2 * batch * heads * rows * key[2] * (width + value[3]))


def _flops(counts: dict[str, dict[Any, int]], path: str) -> int:
    """Operations inside a module; containers count by their children, as they are never called."""
    if path in counts:
        return sum(counts[path].values())
    inner = [name for name in counts if name.startswith(path + ".") and "." not in name[len(path) + 1 :]]
    return sum(sum(counts[name].values()) for name in inner)
