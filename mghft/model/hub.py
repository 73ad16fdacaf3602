"""Saving, loading and publishing a model in the layout of the Hugging Face Hub.

A folder holds config.json, model.safetensors and a model card, README.md. Knows nothing of training runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from huggingface_hub import ModelCard, ModelHubMixin
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from mghft.model.checkpoint_files import WEIGHTS_NAME, find_nonfinite, locate_file
from mghft.model.config import MGHFTConfig, PyramidConfig
from mghft.model.model_card import CardText, mghft_text, model_card
from mghft.model.saving import sync, write_tensors
from mghft.model.state_dict_keys import rename_earlier

CONFIG_NAME = "config.json"
CARD_NAME = "README.md"
MODEL_TYPE = "mghft"
# A configuration takes about one kilobyte.
MAX_CONFIG_BYTES = 2**20
_MODEL_NAMES = {MODEL_TYPE: "an MGHFT model", "mghft-peer": "a peer of MGHFT"}
AnyConfig = TypeVar("AnyConfig", bound=PyramidConfig)
_BLOCK = re.compile(r"backbone\.stages\.([0-3])\.blocks\.(\d+)\.")


class HubModel(
    nn.Module,
    ModelHubMixin,
    library_name="mghft",
    tags=["mghft", "sticker-emotion", "image-classification"],
    pipeline_tag="image-classification",
    paper_url="https://arxiv.org/abs/2507.18929",
):
    """A module built from its configuration alone, with save_pretrained, from_pretrained and push_to_hub."""

    config_class: ClassVar[type[PyramidConfig]] = MGHFTConfig
    # As config.json has it.
    model_type: ClassVar[str] = MODEL_TYPE

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        config: Any = None,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        model_card_kwargs: dict[str, Any] | None = None,
        **push_to_hub_kwargs: Any,
    ) -> str | None:
        """Write config.json, model.safetensors and, where there is none yet, a model card.

        Everything is written aside first, so a full disk leaves the earlier files alone. config.json goes
        first and comes last: a folder whose files were not all renamed is no model instead of a mixed one.

        Args:
            save_directory: made if need be.
            config: must be None; the configuration is the model's own.
            repo_id: see `push_to_hub`; default: the folder's name.
            push_to_hub: also publish, with `push_to_hub_kwargs`.
            model_card_kwargs: arguments of `generate_model_card`.

        Returns:
            Address of the commit if it was published, else None.

        Raises:
            OSError, SafetensorError: a file cannot be written; the earlier model is as before.
            ValueError: a configuration was given.
        """
        if config is not None:
            raise ValueError("save_pretrained takes no config: it saves the one the model was built from")
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        names = (WEIGHTS_NAME, CARD_NAME, CONFIG_NAME)
        fresh = {name: folder / f".{name}.new" for name in names}
        try:
            tensors = {name: value.detach().contiguous().cpu() for name, value in self.state_dict().items()}
            write_tensors(fresh[WEIGHTS_NAME], tensors)
            if not (folder / CARD_NAME).exists():
                card = self.generate_model_card(**(model_card_kwargs or {}))
                fresh[CARD_NAME].write_text(str(card), encoding="utf-8")
            fields = {"model_type": self.model_type, **self.config.model_dump(mode="json")}
            fresh[CONFIG_NAME].write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
            written = [name for name in names if fresh[name].exists()]
            for name in written:
                sync(fresh[name])
            (folder / CONFIG_NAME).unlink(missing_ok=True)
            for name in written:
                fresh[name].replace(folder / name)
            sync(folder)
        finally:
            for path in fresh.values():
                path.unlink(missing_ok=True)
        if push_to_hub:
            name = repo_id or folder.name
            return self.push_to_hub(name, model_card_kwargs=model_card_kwargs, **push_to_hub_kwargs)
        return None

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        **model_kwargs: Any,
    ) -> Self:
        """Load what `save_pretrained` wrote, now or by an earlier version, in evaluation mode.

        The configuration and the shapes of the weights are compared before any memory is taken for them.

        Args:
            pretrained_model_name_or_path: a folder, or a model id on the Hugging Face Hub; the hub is asked
                for an id only, as the other arguments say.
            model_kwargs: none are known.

        Raises:
            FileNotFoundError: the folder or model does not exist, or a file is missing in it.
            ValueError: the files are damaged, are not MGHFT's, do not belong together, or hold NaN.
        """
        if model_kwargs:
            raise ValueError(
                f"from_pretrained knows no argument {next(iter(model_kwargs))!r}: "
                "the model is built from the saved configuration alone"
            )
        source = pretrained_model_name_or_path
        download = {
            "force_download": force_download,
            "token": token,
            "cache_dir": cache_dir,
            "local_files_only": local_files_only,
            "revision": revision,
        }
        config_path = locate_file(source, CONFIG_NAME, **download)
        weights_path = locate_file(source, WEIGHTS_NAME, **download)
        try:
            config = read_config(config_path, cls.config_class, cls.model_type)
            _compare_shapes(cls, config, weights_path)
            tensors = load_file(weights_path)
            if (name := find_nonfinite(tensors)) is not None:
                raise ValueError(f"{name!r} holds NaN or infinity")
            model = cls(config)
            model.load_state_dict(tensors)
        except Exception as error:  # a crafted file can break the readers in any way
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(
                f"{source} does not hold a usable MGHFT model ({reason}): save it again with save_pretrained"
            ) from error
        return model.eval()

    def push_to_hub(self, repo_id: str, *, private: bool | None = True, **options: Any) -> str:
        """Publish the model: what `save_pretrained` writes, in one commit.

        Args:
            repo_id: owner/name, or a name of one's own.
            private: a repository that has to be made is private unless told otherwise; one that exists keeps
                its visibility.
            options: of `ModelHubMixin.push_to_hub`: commit_message, token, branch, create_pr,
                model_card_kwargs and patterns of files.

        Returns:
            Address of the commit.
        """
        address: str = super().push_to_hub(repo_id, private=private, **options)
        return address

    def card_text(self) -> CardText:
        """Return what the model card says of the network."""
        return mghft_text(self.config)

    def generate_model_card(
        self,
        *,
        classes: Sequence[str] | None = None,
        metrics: Mapping[str, float] | None = None,
        dataset: str | None = None,
        split: str | None = None,
        license: str | None = "apache-2.0",
        origin: str | None = None,
        card: str | Path | None = None,
    ) -> ModelCard:
        """Return the model card with the metadata that the hub reads.

        Args:
            classes: names, in index order.
            metrics: results by the hub's names (accuracy, f1, …), from 0 to 1.
            dataset, split: what the metrics were measured on; needed with them.
            license: identifier of the weights' licence; None names none.
            origin: one sentence on where the weights come from.
            card: a card that already exists, such as a training run's; the other arguments are not read.

        Raises:
            ValueError: metrics without a dataset, or another number of classes than the model has.
        """
        if card is not None:
            return ModelCard(Path(card).read_text(encoding="utf-8"))
        return model_card(
            self.config,
            self.card_text(),
            self._hub_mixin_info.model_card_data,
            classes=classes,
            metrics=metrics,
            dataset=dataset,
            split=split,
            license=license,
            origin=origin,
        )


def saved_type(source: str | Path) -> str:
    """Return the `model_type` of a saved model; MGHFT's where its config.json names none or cannot be read.

    Raises:
        FileNotFoundError: the folder or model does not exist, or has no config.json.
    """
    path = locate_file(source, CONFIG_NAME)
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            return MODEL_TYPE
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return MODEL_TYPE
    return str(fields.get("model_type", MODEL_TYPE)) if isinstance(fields, dict) else MODEL_TYPE


def read_config(path: Path, config_class: type[AnyConfig], model_type: str) -> AnyConfig:
    """Read the configuration in a config.json that `save_pretrained` wrote.

    Args:
        config_class, model_type: of the model that is wanted.

    Raises:
        ValueError: it is not JSON, another model's, or has an unknown or wrong field.
    """
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise ValueError(f"{path.name} is larger than any configuration of MGHFT")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise ValueError(f"{path.name} is not JSON") from None
    if not isinstance(fields, dict) or fields.pop("model_type", MODEL_TYPE) != model_type:
        raise ValueError(f"{path.name} is not that of {_MODEL_NAMES.get(model_type, model_type)}")
    unknown = sorted(fields.keys() - config_class.model_fields.keys())
    if unknown:
        raise ValueError(f"{path.name} has the unknown field {unknown[0]!r}")
    try:
        return config_class(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "its fields"
        reason = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        raise ValueError(f"{path.name}, {field}: {reason}") from None


def _compare_shapes(model_class: type[HubModel], config: PyramidConfig, weights: Path) -> None:
    """Refuse the first tensor of the file that is not the configuration's."""
    with safe_open(weights, framework="pt") as stored:
        slices = {name: stored.get_slice(name) for name in stored.keys()}  # noqa: SIM118
        rename_earlier(slices)
        shapes = {name: tuple(tensor.get_shape()) for name, tensor in slices.items()}
        kinds = {name: tensor.get_dtype() for name, tensor in slices.items()}
    # Asked before the modules are built, of which a crafted configuration can want any number.
    depths = [0, 0, 0, 0]
    for match in filter(None, map(_BLOCK.match, shapes)):
        depths[int(match[1])] = max(depths[int(match[1])], int(match[2]) + 1)
    if tuple(depths) != config.depths:
        raise ValueError(f"depths is {config.depths} where the weights have {tuple(depths)}")
    with torch.device("meta"):
        tensors = model_class(config).state_dict()
    wanted = {name: tuple(value.shape) for name, value in tensors.items()}
    for name in [*wanted, *shapes]:
        if wanted.get(name) != shapes.get(name):
            raise ValueError(
                f"{name!r} is {shapes.get(name, 'missing')} where {wanted.get(name, 'nothing')} is wanted"
            )
        if tensors[name].is_floating_point() and kinds[name] not in ("F64", "F32", "F16", "BF16"):
            raise ValueError(f"{name!r} is {kinds[name]} where floating-point numbers are wanted")
