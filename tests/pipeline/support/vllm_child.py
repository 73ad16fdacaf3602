"""Run by test_describe_vllm in a process of its own: asks the shipped stand-in under vLLM, prints JSON."""

import json
import sys
from pathlib import Path

from mghft.pipeline.engines.base import Request, RequestKey, Response
from mghft.pipeline.engines.model_source import find_model
from mghft.pipeline.engines.options import VllmOptions
from mghft.pipeline.engines.vllm_engine import VllmEngine
from mghft.pipeline.images.decode import decode_image
from mghft.pipeline.prompting.pack import Sampling
from mghft.pipeline.views import VIEWS, views_schema

root = Path(sys.argv[1])
images = [decode_image(root, f"images/{number:04d}.png") for number in range(12)]
# The stand-in's chat template drops the words, so a system message long enough to overflow is no use here:
# the limit of tokens is what a request can break.
engine = VllmEngine(find_model("tiny-llava"), VllmOptions(max_model_len=128, max_num_seqs=16))


def request(number: int, keys: tuple[str, ...] = VIEWS, **sampling: float) -> Request:
    return Request(
        RequestKey(str(number)),
        images[number],
        str(number),
        None,
        "?",
        views_schema(keys),
        Sampling(max_tokens=70, **sampling),
    )


def ask(*requests: Request) -> list[Response]:
    for one in requests:
        engine.submit(one)
    answers: list[Response] = []
    while len(answers) < len(requests):
        answers += engine.collect()
    return answers


together = {a.key.sticker_id: a.text for a in ask(*(request(n) for n in range(12)))}
alone = {a.key.sticker_id: a.text for n in range(12) for a in ask(request(n))}
bad = Request(RequestKey("bad"), images[0], "0", None, "?", {"type": "no such type"}, Sampling(max_tokens=70))
mixed = {a.key.sticker_id: a for a in ask(request(1), bad, request(2))}
one_view = ask(request(3, ("style",)))[0]
print(
    json.dumps(
        {
            "together": together,
            "alone": alone,
            "mixed": {key: answer.error for key, answer in mixed.items()},
            "mixed_texts": {key: answer.text for key, answer in mixed.items()},
            "one_view": one_view.text,
            "tokens": one_view.output_tokens,
        }
    )
)
