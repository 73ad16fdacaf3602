"""Run by test_zero_shot_vllm in a process of its own: the shipped stand-in under vLLM, beside transformers.

Prints as JSON what vLLM answers to a choice, a free question and wanted log-probabilities, and the
log-probabilities that transformers computes for the same tokens of the same prompt.
"""

import json
from typing import Any

import torch
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration

from mghft.pipeline.engines.base import Request, RequestKey, Response
from mghft.pipeline.engines.model_source import find_model
from mghft.pipeline.engines.options import VllmOptions
from mghft.pipeline.engines.vllm_engine import VllmEngine
from mghft.pipeline.prompting.pack import Sampling

LABELS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
LETTERS = tuple("ABCDEFG")
# A token that the stand-in begins with, one with and one without a blank before it, a letter.
WORDS = ('{"', "light", "A")
IMAGES = [Image.new("RGB", (64, 64), (20 * number, 50, 200 - 10 * number)) for number in range(4)]

source = find_model("tiny-llava")
engine = VllmEngine(source, VllmOptions(max_num_seqs=8, dtype="float32"))


def request(number: int, kind: str, **form: Any) -> Request:
    sampling = Sampling(max_tokens=1 if kind.startswith("score") else 24)
    key = RequestKey(str(number), kind)
    return Request(key, IMAGES[number], str(number), None, "?", None, sampling, **form)


def ask(*requests: Request) -> dict[RequestKey, Response]:
    for one in requests:
        engine.submit(one)
    answers: dict[RequestKey, Response] = {}
    while len(answers) < len(requests):
        answers.update((answer.key, answer) for answer in engine.collect())
    return answers


def by_transformers(number: int) -> torch.Tensor:
    """Log-probabilities of the whole vocabulary in the first place of the answer."""
    content = [{"type": "image", "image": IMAGES[number]}, {"type": "text", "text": "?"}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
    )  # fmt: skip
    with torch.no_grad():
        return model(**inputs).logits[0, -1].double().log_softmax(-1)


mixed = [
    one
    for number in range(len(IMAGES))
    for one in (
        request(number, "choice", choice=LABELS),
        request(number, "score letters", score=LETTERS),
        request(number, "score words", score=WORDS),
        request(number, "free"),
    )
]
answers = ask(*mixed)
alone = ask(request(2, "score letters", score=LETTERS))
lacking = ask(request(0, "score", score=("no such token",)))

processor = AutoProcessor.from_pretrained(source.location)
model = LlavaForConditionalGeneration.from_pretrained(source.location, dtype=torch.float32).eval()
vocabulary = processor.tokenizer.get_vocab()
expected = {}
for number in range(len(IMAGES)):
    logprobs = by_transformers(number)
    for word in (*LETTERS, *WORDS):
        ids = [vocabulary[token] for token in (word, f"\u0120{word}") if token in vocabulary]
        expected[f"{number} {word}"] = float(logprobs[ids].logsumexp(0))
print(
    json.dumps(
        {
            "choices": [answers[RequestKey(str(n), "choice")].text for n in range(len(IMAGES))],
            "free": [answers[RequestKey(str(n), "free")].text for n in range(len(IMAGES))],
            "logprobs": {
                f"{key.sticker_id} {word}": value
                for key, answer in answers.items()
                for word, value in (answer.logprobs or {}).items()
            },
            "expected": expected,
            "alone": next(iter(alone.values())).logprobs,
            "tokens": [answers[RequestKey("0", kind)].output_tokens for kind in ("score letters", "free")],
            "lacking": next(iter(lacking.values())).error,
        }
    )
)
