"""The configuration of a training: one frozen model, filled by recipe, YAML file and overrides in turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mghft.pipeline.settings import build, read_settings
from mghft.pipeline.text import near
from mghft.train.augmentation import Augmentation
from mghft.train.imbalance import Imbalance
from mghft.train.options import (
    OF_MGHFT,
    Cache,
    Checkpointing,
    Loading,
    Network,
    NetworkOptions,
    Pooling,
    Schedule,
    Sources,
    TextOptions,
    ViewTexts,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Options = TypeVar("Options", bound=DataclassInstance)

RECIPES_FOLDER = Path(__file__).resolve().parent / "recipes"

# Of the overfit check: steps that suffice for a small network at this learning rate, several times over.
_OVERFIT_STEPS = 600
_OVERFIT_RATE = 1e-3
# Where a run lives and how it is carried out; two runs that differ in these alone are the same run.
EXECUTION_FIELDS = frozenset(
    {"data", "descriptions", "out", "resume", "workers", "num_threads", "cache_dir", "cache_gb", "progress"}
    | {"images", "prefetch", "pin_memory"}
    | {"keep_checkpoints", "checkpoint_every_epochs", "checkpoint_every_steps", "recipe"}
    | {"allow_changes", "allow_changed_images", "strict", "tracker", "corrections"}
)


class TrainConfig(BaseModel):
    """One training run. The defaults are the paper's recipe (MGHFT, ACM MM 2025, released code)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    card: str = Field(description="data card: a shipped name or a path")
    data: Path | None = Field(
        default=None, description="root folder of the corpus; not needed where images come from shards"
    )
    descriptions: Path | None = Field(default=None, description="run folder of `mghft describe`")
    corrections: Path | None = Field(
        default=None, description="CSV of sticker, view, text laid over the descriptions"
    )
    out: Path = Field(description="run folder to write")
    recipe: str = Field(default="mghft", description="name of the recipe the values came from")

    network: Network = Field(
        default="mghft",
        description="mghft, or a network that it is compared with: pvt, pvt-bert, lora-v, lora, tgca-pvt",
    )
    model: dict[str, Any] = Field(
        default_factory=dict, description="fields of MGHFTConfig or PeerConfig, and `preset`"
    )
    use_text: bool = Field(default=True, description="false: the same network without text")
    text_encoder: str = Field(default="bert-base-uncased", description="BERT-like encoder, or 'minilm'")
    text_pooling: Pooling = Field(
        default="last4_masked_mean", description="how token states become one vector"
    )
    view_texts: ViewTexts = Field(
        default="own",
        description="'own'; 'whole': every view reads all; 'released': the row's full text, as the released "
        "code feeds it (runs of `mghft data import-mg`)",
    )
    tune_text_encoder: bool = Field(
        default=False, description="train the text encoder's weights too; then no features are cached"
    )
    text_lr_scale: float = Field(
        default=0.1,
        ge=0,
        description="learning rate of a text encoder that is trained, as a share of lr; 0: its weights stay "
        "and its dropout is on, as in the released training",
    )
    standardize_text: bool = Field(
        default=False, description="centre and scale the text features by the training split's statistics"
    )
    min_picture_rank: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="views that `mghft audit` ranked below this count as missing; null: none",
    )
    view_dropout: float = Field(default=0.0, ge=0, lt=1, description="chance that training hides a view")
    pvt_weights: str | None = Field(
        default=None,
        description="ImageNet weights of PVT: a file, a folder or a Hugging Face id; 'eye': the shipped "
        "backbone for the network of the recipe cpu; null: from scratch",
    )
    backbone_lr_scale: float = Field(
        default=1.0, gt=0, description="learning rate of the backbone, as a share of lr"
    )

    epochs: int = Field(default=50, ge=1, description="passes over the training split")
    batch_size: int = Field(default=16, ge=1, description="per process")
    lr: float | None = Field(default=None, gt=0, description="peak learning rate; null: base_lr scaled")
    base_lr: float = Field(default=1e-3, gt=0, description="multiplied by batch_size · processes / 512")
    min_lr: float = Field(default=1e-5, ge=0, description="at the end of the cosine")
    warmup_lr: float = Field(default=1e-5, ge=0, description="at the first step")
    warmup_epochs: float = Field(default=5, ge=0, description="linear warm-up")
    lr_changes: Literal["step", "epoch"] = Field(
        default="step", description="epoch: constant within one and one epoch late, as released"
    )
    weight_decay: float = Field(default=0.05, ge=0, description="none on one-dimensional parameters")
    clip_grad: float | None = Field(default=None, gt=0, description="largest norm of the gradient")
    label_smoothing: float = Field(default=0.2, ge=0, lt=1, description="of the classification loss")
    ema_decay: float | None = Field(
        default=None, gt=0, lt=1, description="evaluate and keep a running mean of the weights"
    )
    imbalance: Imbalance = Field(
        default_factory=Imbalance, description="what is done about unequal classes; nothing by default"
    )
    gather_negatives: bool = Field(
        default=False,
        description="alignment pairs across all processes; false: inside each process, as the released code",
    )
    repeats: int = Field(default=3, ge=1, description="augmented copies of a sticker per epoch")
    order: Literal["own", "released"] = Field(
        default="own",
        description="released: DeiT's sampler as the released code draws, the same for every seed",
    )
    augmentation: Augmentation = Field(default_factory=Augmentation, description="timm's transforms")
    seed: int = Field(default=42, ge=0, description="of weights, order, augmentation and dropout")
    mixed_precision: Literal["auto", "no", "fp16", "bf16"] = Field(
        default="auto", description="auto: no on a CPU"
    )
    eval_batch_size: int = Field(default=64, ge=1, description="per process")

    resume: bool = Field(default=False, description="go on with the run in `out`")
    allow_changes: tuple[str, ...] = Field(
        default=(), description="with resume: fields that may differ from the run's; recorded in config.json"
    )
    init_from: str | None = Field(
        default=None,
        description="begin with these weights: a run, a folder or a hub id; pvt_weights is not read then",
    )
    overfit: int | None = Field(
        default=None, ge=2, description="learn so many stickers by heart, without augmentation: a check"
    )
    tracker: Literal["tensorboard", "wandb"] | None = Field(
        default=None, description="also log to it; W&B offline unless WANDB_MODE says otherwise"
    )
    checkpoint_every_epochs: int = Field(default=1, ge=1, description="epochs between checkpoints")
    checkpoint_every_steps: int | None = Field(
        default=None, ge=1, description="checkpoints inside an epoch too"
    )
    keep_checkpoints: int = Field(default=2, ge=1, description="how many of the last checkpoints stay")
    images: Literal["files", "shards"] = Field(
        default="files",
        description="bytes of the images: files of `data`, or shards of `mghft describe --embed-images`",
    )
    allow_changed_images: bool = Field(
        default=False, description="train although images are not those that were described"
    )
    strict: bool = Field(
        default=False, description="an image that cannot be decoded is an error; else it is left out and told"
    )
    workers: int = Field(default=4, ge=0, description="processes that read and augment images")
    prefetch: int = Field(default=2, ge=1, description="batches that every worker is ahead")
    pin_memory: bool = Field(default=True, description="page-locked memory for batches, where there is a GPU")
    num_threads: int | None = Field(default=None, ge=1, description="threads of torch on CPU")
    cache_dir: Path | None = Field(
        default=None, description="decoded images and text features; null: ~/.cache/mghft"
    )
    cache_gb: float = Field(
        default=16.0,
        ge=0,
        description="decoded images are kept up to this size, beyond it decoded every time; 0: never kept",
    )
    progress: bool = Field(default=True, description="progress bar")

    @model_validator(mode="before")
    @classmethod
    def _peers_read_no_descriptions(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and fields.get("network", "mghft") != "mghft":
            return {"use_text": False, **fields}
        return fields

    @model_validator(mode="after")
    def _agrees(self) -> TrainConfig:
        if self.network != "mghft":
            self._check_peer()
        if self.use_text and self.descriptions is None:
            raise ValueError(
                "descriptions: a run with text needs a run folder of 'mghft describe' "
                "(or set use_text to false for the network without text)"
            )
        if self.corrections is not None and self.descriptions is None:
            raise ValueError("corrections: they are laid over descriptions, and none are read")
        if self.corrections is not None and self.view_texts == "released":
            raise ValueError(
                "corrections: they are of single views, and view_texts=released reads the row's full text"
            )
        if self.tune_text_encoder and not self.use_text:
            raise ValueError(
                "tune_text_encoder: a run without text has no encoder to train: set use_text to true, or "
                "tune_text_encoder to false"
            )
        if self.images == "shards" and self.descriptions is None:
            raise ValueError(
                "images: shards are those of a run folder of 'mghft describe --embed-images': "
                "give it as descriptions"
            )
        if self.images == "files" and self.data is None:
            raise ValueError(
                "data: give the root folder of the corpus (or set images to shards, where the shards of the "
                "descriptions hold the images)"
            )
        for driven in ("num_classes", "text_dim", "use_text", "label_smoothing"):
            if driven in self.model:
                raise ValueError(
                    f"model.{driven}: it follows from the card, the encoder or the field of that name "
                    "in the training configuration; remove it from 'model'"
                )
        if self.imbalance.loss == "focal" and self.label_smoothing:
            raise ValueError(
                f"imbalance.loss: focal loss is defined for hard labels, label_smoothing is "
                f"{self.label_smoothing}: set label_smoothing to 0 with it"
            )
        if self.min_picture_rank is not None and self.view_texts == "released":
            raise ValueError(
                "min_picture_rank: a released text is one for all views, none of them can be left out"
            )
        if self.order == "released" and self.imbalance.sampling == "balanced":
            raise ValueError("order: the released order knows no classes, set imbalance.sampling or order")
        if self.allow_changes and not self.resume:
            raise ValueError("allow_changes: it goes with resume, for a run folder that already exists")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs: {self.warmup_epochs} does not leave an epoch of {self.epochs} to train"
            )
        return self

    def _check_peer(self) -> None:
        if self.use_text:
            raise ValueError(
                f"use_text: {self.network} reads no descriptions: leave use_text out (lora and tgca-pvt "
                "read the text on the sticker, lora-v and pvt none)"
            )
        for field in ("view_dropout", "gather_negatives", "tune_text_encoder"):
            if getattr(self, field):
                raise ValueError(
                    f"{field}: it is of mghft alone, the network is {self.network}: leave it out"
                )

    @property
    def sources(self) -> Sources:
        """Return what is trained on."""
        return self._pick(Sources)

    @property
    def text(self) -> TextOptions | None:
        """Return how texts are encoded; None for a run without text."""
        return self._pick(TextOptions) if self.use_text else None

    @property
    def model_options(self) -> NetworkOptions:
        """Return what the model is built from."""
        return self._pick(NetworkOptions)

    @property
    def schedule(self) -> Schedule:
        """Return how long and how fast is trained."""
        return self._pick(Schedule)

    @property
    def checkpointing(self) -> Checkpointing:
        """Return when checkpoints are written and which one is the best."""
        return self._pick(Checkpointing)

    @property
    def loading(self) -> Loading:
        """Return how batches are loaded."""
        return self._pick(Loading)

    @property
    def cache(self) -> Cache:
        """Return where decoded images and text features are kept."""
        return self._pick(Cache)

    def _pick(self, options: type[Options]) -> Options:
        return options(**{field.name: getattr(self, field.name) for field in dataclasses.fields(options)})

    def learning_rate(self, processes: int) -> float:
        """Return the peak rate: `lr`, or the paper's rule `base_lr · batch_size · processes / 512`."""
        return self.lr if self.lr is not None else self.base_lr * self.batch_size * processes / 512

    def identity(self) -> dict[str, Any]:
        """Return the fields that decide the result, ready for JSON."""
        fields = self.model_dump(mode="json", exclude=set(EXECUTION_FIELDS))
        if self.backbone_lr_scale == 1.0:
            # Runs of before the field was there have no such entry, and go on as what they are.
            del fields["backbone_lr_scale"]
        if self.network == "mghft":
            del fields["network"]
        for name, before in (("lr_changes", "step"), ("order", "own"), ("min_picture_rank", None)):
            if fields[name] == before:
                del fields[name]
        return fields

    def highlights(self, processes: int) -> dict[str, Any]:
        """Return what a reader of the weights asks first, by its name for people; None where it is off.

        Args:
            processes: that train together.
        """
        fields = (
            "recipe",
            "epochs",
            "batch_size",
            "repeats",
            "label_smoothing",
            "ema_decay",
            "seed",
            "init_from",
        )
        augmentation = self.augmentation.auto_augment or "crops, jitter"
        return {
            **{name.replace("_", " "): getattr(self, name) for name in fields},
            "learning rate": self.learning_rate(processes),
            "backbone's share of it": None if self.backbone_lr_scale == 1.0 else self.backbone_lr_scale,
            "weight decay": self.weight_decay,
            "augmentation": "off" if self.augmentation.off else augmentation,
            "mixed precision": self.mixed_precision,
            "processes": processes,
        }

    def for_overfit_check(self) -> TrainConfig:
        """Return the configuration as the overfit check trains it; itself where `overfit` is off.

        All that keeps a network from learning its stickers is off: augmentation, dropout, weight decay, label
        smoothing, EMA. The rate is constant, 1e-3 unless `lr` is given; epochs are as many as 600 steps need.
        """
        if self.overfit is None:
            return self
        batch = min(self.batch_size, self.overfit)
        epochs = max(self.epochs, -(-_OVERFIT_STEPS // max(1, self.overfit // batch)))
        rate = self.lr or _OVERFIT_RATE
        changes: dict[str, Any] = {
            "model": {**self.model, "drop_path": 0.0, "fusion_dropout": 0.0},
            "view_dropout": 0.0,
            "label_smoothing": 0.0,
            "weight_decay": 0.0,
            "ema_decay": None,
            "repeats": 1,
            "augmentation": {**self.augmentation.model_dump(), "off": True},
            "batch_size": batch,
            "epochs": epochs,
            "lr": rate,
            "min_lr": rate,
            "warmup_epochs": min(self.warmup_epochs, epochs // 20),
            "checkpoint_every_epochs": max(1, epochs // 10),
        }
        return build_config({**self.model_dump(), **changes})


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes, sorted."""
    return sorted(path.stem for path in RECIPES_FOLDER.glob("*.yaml"))


def load_config(
    recipe: str = "mghft", file: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> TrainConfig:
    """Build a configuration of recipe, YAML file and overrides; the later wins, nested fields are merged.

    Args:
        recipe: name of a shipped recipe.
        file: YAML with fields of TrainConfig; it may name another recipe itself.
        overrides: fields of TrainConfig; a dot reaches inside (`model.alpha`); None is a null like any other.

    Raises:
        ValueError: a field is unknown or has a wrong value; the message names it.
        FileNotFoundError: the recipe or the file does not exist.
    """
    fields = {} if file is None else read_settings(file)
    recipe = str(fields.pop("recipe", recipe))
    if recipe not in recipe_names():
        raise FileNotFoundError(
            f"the recipe '{recipe}' does not exist{near(recipe, recipe_names())}: the shipped "
            f"ones are {', '.join(recipe_names())}"
        )
    values = read_settings(RECIPES_FOLDER / f"{recipe}.yaml")
    network = (overrides or {}).get("network", fields.get("network", "mghft"))
    if network != "mghft":
        values["model"] = {key: value for key, value in values["model"].items() if key not in OF_MGHFT}
    return build_config(values, fields, overrides or {}, {"recipe": recipe})


def build_config(*layers: Mapping[str, Any]) -> TrainConfig:
    """Validate fields, later layers over earlier ones; the first error is a sentence that names its field."""
    return build(TrainConfig, *layers, what="the training configuration")
