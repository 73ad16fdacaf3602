"""Run by test_architectures in a process of its own: describes one corpus with one model after the other.

Prints one line of JSON: for every run in the order asked for [model, rows, error], and for every model what
the engine and `LLM.chat` make of the same request. A model in `unusable/` is expected to fail, and all of
these share one run folder.
"""

import json
import sys
from pathlib import Path
from typing import Any

from mghft.pipeline.describe.config import build_describe_config
from mghft.pipeline.describe.run import describe
from mghft.pipeline.engines.base import Request, RequestKey, Response
from mghft.pipeline.engines.vllm_engine import VllmEngine
from mghft.pipeline.images.decode import decode_image
from mghft.pipeline.prompting.pack import Sampling
from mghft.pipeline.runs.shards import read_descriptions
from mghft.pipeline.views import views_schema

card, settings, out, *models = sys.argv[1:]
runs: list[tuple[str, Any, str | None]] = []
chats: dict[str, list[list[Any]]] = {}
end = VllmEngine.close


def compare(engine: VllmEngine) -> list[list[Any]]:
    """[prompt tokens, text] of two images by the engine, and by `LLM.chat`."""
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    images = [decode_image(Path(card).parent, f"images/000{number}.png") for number in range(2)]
    sampling, schema = Sampling(max_tokens=40), views_schema()
    for number, image in enumerate(images):
        engine.submit(Request(RequestKey(str(number)), image, str(number), "a b", "c d", schema, sampling))
    answers: dict[str, Response] = {}
    while len(answers) < 2:
        answers |= {answer.key.sticker_id: answer for answer in engine.collect()}
    content = [
        [{"type": "image_pil", "image_pil": image}, {"type": "text", "text": "c d"}] for image in images
    ]
    talks = [[{"role": "system", "content": "a b"}, {"role": "user", "content": part}] for part in content]
    settings = SamplingParams(
        temperature=0, seed=0, max_tokens=40, structured_outputs=StructuredOutputsParams(json=schema)
    )
    outputs = engine._llm.chat(talks, settings, use_tqdm=False)
    ours = [[answers[key].prompt_tokens, answers[key].text] for key in "01"]
    return [ours, [[len(output.prompt_token_ids), output.outputs[0].text] for output in outputs]]


def compare_and_end(engine: VllmEngine) -> None:
    if not model.startswith("unusable"):
        chats.setdefault(model, compare(engine))
    end(engine)


VllmEngine.close = compare_and_end  # type: ignore[method-assign]
for number, model in enumerate(models):
    run = Path(out) / (Path(model).parent.name or f"{number}-{model}")
    fields = {"card": card, "data": Path(card).parent, "model": model, "out": run}
    try:
        describe(build_describe_config(Path(settings), fields))
    except ValueError as error:
        runs.append((model, [], str(error)))
    else:
        rows = read_descriptions(run).sort_by("sticker_id").to_pylist()
        runs.append((model, rows, None))
print(json.dumps([runs, chats]))
