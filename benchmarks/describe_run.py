"""Speed and memory of `mghft describe` with the shipped stand-in against the engine alone; see --help.

Rounds of describe (decoding, checking, journal and shards included) and of the raw `LLM.chat` call on the
same prompts with images already decoded alternate in one process on one engine, caches emptied before each.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
CARD = """---
pretty_name: Benchmark stickers
mghft:
  adapter: table
  file: stickers.csv
  columns: {path: path, label: label, split: split}
  labels: [even, odd]
---
"""


def make_stickers(root: Path, count: int, side: int) -> Path:
    """Different drawings, PNG with transparency and JPEG by turns; returns the card."""
    lines = ["path,label,split"]
    for number in range(count):
        path = root / f"{number:05d}.{'jpg' if number % 2 else 'png'}"
        lines.append(f"{path.name},{'odd' if number % 2 else 'even'},train")
        if path.exists():
            continue
        dice = random.Random(number)
        image = Image.new("RGBA", (side, side), (0, 0, 0, 0))
        pen = ImageDraw.Draw(image)
        for _ in range(12):
            x, y, size = (dice.randrange(side) for _ in range(3))
            colour = (*(dice.randrange(256) for _ in range(3)), 255)
            pen.ellipse((x - size // 3, y - size // 3, x + size // 3, y + size // 3), fill=colour)
        if number % 2:
            image.convert("RGB").save(path, quality=90)
        else:
            image.save(path, compress_level=1)
    (root / "stickers.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    card = root / "benchmark.md"
    card.write_text(CARD, encoding="utf-8")
    return card


def settings(card: Path, out: Path, **fields: Any) -> Any:
    from mghft.pipeline.describe.config import DescribeConfig

    return DescribeConfig(card=str(card), data=card.parent, out=out, **fields)


class Shared:
    """An engine that outlives the run it is lent to."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.capacity = engine, engine.capacity
        self.submit, self.collect = engine.submit, engine.collect

    def empty_caches(self) -> None:
        self.engine._llm.reset_mm_cache()
        self.engine._llm.reset_prefix_cache()

    def close(self) -> None:
        pass


def start(share_images: bool = False, **options: Any) -> Shared:
    from mghft.pipeline.engines.model_source import find_model
    from mghft.pipeline.engines.number_format import fast_format
    from mghft.pipeline.engines.options import VllmOptions
    from mghft.pipeline.engines.vllm_engine import VllmEngine

    source = find_model("tiny-llava")
    chosen = VllmOptions(**{"dtype": fast_format(source.location), **options})
    print(f"  number format: {chosen.dtype}", flush=True)
    return Shared(VllmEngine(source, chosen, share_images=share_images))


def describe_once(engine: Shared, card: Path, **fields: Any) -> tuple[float, dict[str, Any]]:
    """Seconds from the engine being up to the last shard and the statistics, and those statistics.

    A real engine takes longer to start than the processes that decode: they get three seconds.
    """
    from mghft.pipeline.describe.run import describe

    def lend(*_: Any) -> Shared:
        time.sleep(3)
        return engine

    engine.empty_caches()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        stats = describe(settings(card, Path(folder) / "run", **fields), start_engine=lend)
        return time.perf_counter() - began - stats["engine_start_seconds"], stats


def decoded(card: Path, count: int) -> list[Image.Image]:
    from mghft.pipeline.images.decode import decode_image

    names = (card.parent / "stickers.csv").read_text().splitlines()[1 : count + 1]
    return [decode_image(card.parent, name.split(",")[0], max_side=1024) for name in names]


def raw_chat(engine: Shared, images: list[Image.Image]) -> float:
    """Seconds of one `LLM.chat` call with the prompts of the default pack."""
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    from mghft.pipeline.corpora.sticker import Sticker
    from mghft.pipeline.prompting.load import load_pack
    from mghft.pipeline.views import views_schema

    pack = load_pack("multiview")
    text = pack.render(Sticker(id="", path="", split="train"))
    parts = [[{"type": "image_pil", "image_pil": image}, {"type": "text", "text": text}] for image in images]
    chats = [[{"role": "user", "content": content}] for content in parts]
    schema = StructuredOutputsParams(json=views_schema())
    sampling = SamplingParams(
        temperature=0, seed=0, max_tokens=pack.sampling.max_tokens, structured_outputs=schema
    )
    engine.empty_caches()
    began = time.perf_counter()
    engine.engine._llm.chat(chats, sampling, use_tqdm=False)
    return time.perf_counter() - began


def generate_loop(images: list[Image.Image]) -> float:
    """Seconds of a plain transformers loop, one image after the other, greedy, in the engine's format."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from mghft.pipeline.engines.model_source import find_model
    from mghft.pipeline.engines.number_format import fast_format

    folder = find_model("tiny-llava").location
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=fast_format(folder)).eval()
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]
    prompt = processor.apply_chat_template(chat, add_generation_prompt=True)
    began = time.perf_counter()
    for image in images:
        inputs = processor(images=image, text=prompt, return_tensors="pt", add_special_tokens=False)
        inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
        with torch.inference_mode():
            tokens = model.generate(**inputs, max_new_tokens=320, do_sample=False)
        processor.batch_decode(tokens, skip_special_tokens=True)
    return time.perf_counter() - began


def speed(options: argparse.Namespace, card: Path) -> None:
    """describe, raw chat and the generate loop, by turns."""
    engine = start()
    images = decoded(card, options.count)
    describe_once(engine, card, limit=64)
    rates: dict[str, list[float]] = {"describe": [], "LLM.chat": [], "generate loop": []}
    for turn in range(options.rounds):
        seconds, stats = describe_once(engine, card, limit=options.count)
        rates["describe"].append(options.count / seconds)
        rates["LLM.chat"].append(options.count / raw_chat(engine, images))
        rates["generate loop"].append(options.loop / generate_loop(images[: options.loop]))
        line = ", ".join(f"{name} {values[-1]:.1f}" for name, values in rates.items())
        print(f"  round {turn + 1}: {line} stickers/s; {stats['failed']} failed", flush=True)
    ours = statistics.median(rates["describe"])
    for name in ("LLM.chat", "generate loop"):
        ratios = [a / b for a, b in zip(rates["describe"], rates[name], strict=True)]
        print(
            f"  describe {ours:.1f} against {name} {statistics.median(rates[name]):.1f} stickers/s: "
            f"{statistics.median(ratios):.2f} times (rounds {', '.join(f'{r:.2f}' for r in ratios)})"
        )


def modes(options: argparse.Namespace, card: Path) -> None:
    """Joint and per-view requests, the prefix cache on and off, each with an engine of its own."""
    engine = start(share_images=not options.mode.endswith("uncached"))
    pack = "per-view" if options.mode.startswith("per-view") else "multiview"
    describe_once(engine, card, limit=64, prompt=pack)
    rates = []
    for _ in range(options.rounds):
        seconds, stats = describe_once(engine, card, limit=options.count, prompt=pack)
        rates.append(options.count / seconds)
    print(
        f"  {options.mode}: {statistics.median(rates):.1f} stickers/s "
        f"({', '.join(f'{rate:.1f}' for rate in rates)}), {stats['output_tokens']} tokens written"
    )


def memory(options: argparse.Namespace, card: Path) -> None:
    """Highest resident memory of a run of its own, from the command line's own function."""
    import resource

    from mghft.pipeline.describe.run import describe

    with tempfile.TemporaryDirectory() as folder:
        describe(settings(card, Path(folder) / "run", limit=options.count))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"count": options.count, "peak_mib": round(peak)}))


def child(*arguments: object) -> str:
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=["all", "speed", "modes", "memory"], default="all")
    parser.add_argument("--count", type=int, default=1000, help="stickers")
    parser.add_argument("--loop", type=int, default=40, help="stickers of the generate loop")
    parser.add_argument("--side", type=int, default=224, help="of the stickers, in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mode", help="of one child of --part modes")
    parser.add_argument("--single", action="store_true", help="a child process: this part alone, here")
    parser.add_argument("--data", type=Path, help="keep the stickers here")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    folder = options.data or Path(tempfile.mkdtemp(prefix="mghft-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    card = folder / "benchmark.md"
    if options.single:
        {"speed": speed, "modes": modes, "memory": memory}[options.part](options, card)
        return
    most = 4000 if options.part in ("all", "memory") else options.count
    make_stickers(folder, most, options.side)
    shared = ("--single", "--data", folder, "--rounds", options.rounds)
    if options.part in ("all", "speed"):
        print(f"{options.count} stickers of {options.side} px, {os.cpu_count()} cores", flush=True)
        command = ("--part", "speed", "--count", options.count, "--loop", options.loop)
        subprocess.run([sys.executable, __file__, *map(str, (*shared, *command))], check=True)
    if options.part in ("all", "modes"):
        for mode in ("joint-cached", "joint-uncached", "per-view-cached", "per-view-uncached"):
            command = ("--part", "modes", "--mode", mode, "--count", options.count // 2)
            print(child(*shared, *command), end="", flush=True)
    if options.part in ("all", "memory"):
        peaks = {}
        for count in (500, 4000):
            peaks[count] = json.loads(child(*shared, "--part", "memory", "--count", count))["peak_mib"]
        print(f"  peak memory: {peaks[500]} MiB at 500 stickers, {peaks[4000]} MiB at 4000:", end=" ")
        print(f"{peaks[4000] / peaks[500]:.3f} times")
    if options.data is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
