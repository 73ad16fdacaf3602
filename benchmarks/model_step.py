"""Time and peak memory of the full-size model: a training step, its parts, prediction; see --help.

A step is forward and backward; text features are cached, as in training, and the cost of the text encoder
that this saves is printed apart, as is the optimizer's. The same step in plain torch and a large product are
timed by turns with ours, so that ratios are of the same minutes. Medians; growth is the best of two. Each
precision runs in a process of its own, so that its peak memory is its own.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from plain_step import plain_logits, plain_loss

from mghft.model import MGHFT, MGHFTConfig
from mghft.model.pvt import DropPath
from mghft.train.huge_pages import ask_for_huge_pages

GROUPS = {
    "linear layers": ("aten::mm", "aten::addmm", "aten::addmm_"),
    "attention": ("aten::_scaled_dot_product",),
    "convolutions": ("aten::mkldnn_convolution", "aten::convolution_backward", "aten::cudnn_convolution"),
    "GELU": ("aten::gelu", "aten::gelu_backward"),
    "LRA and fusion attention": ("aten::bmm", "aten::_softmax"),
    "LayerNorm": ("aten::native_layer_norm",),
    "copies": ("aten::copy_", "aten::cat", "aten::fill_"),
    "sums and products": ("aten::sum", "aten::add", "aten::mul", "aten::addcmul"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", type=int, default=448, help="side of the image in pixels")
    parser.add_argument("--steps", type=int, default=5, help="timed steps, after one that is not")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true", help="only the step, under bf16 autocast")
    parser.add_argument("--no-plain", action="store_true", help="without the plain version (slow, 8 GB)")
    parser.add_argument("--only", choices=("step", *SECTIONS), help="one section")
    options = parser.parse_args()
    ask_for_huge_pages()  # as the commands do
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.bf16 or options.only == "step":
        measure_step(options)
        return
    if options.only is None:
        print(
            f"device {options.device}, {torch.get_num_threads()} threads, batch {options.batch}", flush=True
        )
        shared = [
            f"--{name}={getattr(options, name)}" for name in ("batch", "size", "steps", "threads", "device")
        ]
        shared = [option for option in shared if not option.endswith("=None")]
        shared += ["--no-plain"] * options.no_plain
        for precision in (["--only", "step"], ["--bf16"]):
            subprocess.run([sys.executable, __file__, *shared, *precision], check=True)
    for section, run in SECTIONS.items():
        if options.only in (None, section):
            run(options)


class Step:
    """The full-size model with something to learn from; `ours` and `plain` are one step each."""

    def __init__(self, options: argparse.Namespace, size: int) -> None:
        self.device = torch.device(options.device)
        self.bf16 = options.bf16
        config = MGHFTConfig.preset("default", image_size=size)
        self.model = MGHFT(config).to(self.device).train()
        self.image = torch.randn(options.batch, 3, size, size, device=self.device)
        self.features = torch.randn(options.batch, len(config.views), config.text_dim, device=self.device)
        self.labels = torch.arange(options.batch, device=self.device) % config.num_classes

    def ours(self) -> tuple[float, float]:
        return self._timed(lambda: self.model(self.image, self.features, labels=self.labels).loss)

    def plain(self) -> tuple[float, float]:
        return self._timed(lambda: plain_loss(self.model, self.image, self.features, self.labels))

    def _timed(self, forward: Callable[[], torch.Tensor]) -> tuple[float, float]:
        """Seconds of forward and backward."""
        self.model.zero_grad(set_to_none=True)
        start = now(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss = forward()
        middle = now(self.device)
        loss.backward()
        return middle - start, now(self.device) - middle


def measure_step(options: argparse.Namespace) -> None:
    """Ours and the plain one by turns, a large product between them: everything from the same minutes."""
    step = Step(options, options.size)
    device = step.device
    step.ours()
    memory = peak_memory(device)
    ours, plain, rates = [], [], []
    for _ in range(options.steps):
        rates.append(product_rate(options.device))
        ours.append(step.ours())
        if not options.bf16 and not options.no_plain:
            plain.append(step.plain())
    forward, backward = (statistics.median(column) for column in zip(*ours, strict=True))
    total, rate = statistics.median(map(sum, ours)), statistics.median(rates)
    name = "bf16 autocast" if options.bf16 else "fp32"
    print(
        f"{name} step, {options.size} px: forward {forward:.3f} s, backward {backward:.3f} s, "
        f"together {total:.3f} s (best {min(map(sum, ours)):.3f}); peak memory {memory:.2f} GB"
    )
    if not options.bf16:
        work = flops(options, options.size)
        shares = [work / step_rate / sum(times) for step_rate, times in zip(rates, ours, strict=True)]
        print(
            f"  {work:.0f} GFLOP; a product of 2048³ runs at {rate:.0f} GFLOP/s "
            f"({min(rates):.0f} to {max(rates):.0f}): {work / rate:.2f} s at that rate, "
            f"{statistics.median(shares):.0%} of it reached ({min(shares):.0%} to {max(shares):.0%})"
        )
    if plain:
        ratios = [sum(theirs) / sum(own) for own, theirs in zip(ours, plain, strict=True)]
        print(
            f"  plain torch, every map and product written out: {statistics.median(map(sum, plain)):.2f} s, "
            f"{statistics.median(ratios):.1f} times ours ({min(ratios):.1f} to {max(ratios):.1f}); "
            f"peak memory {peak_memory(device):.2f} GB"
        )
    sys.stdout.flush()


def peak_memory(device: torch.device) -> float:
    """GB so far: of the GPU, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def print_optimizer(options: argparse.Namespace) -> None:
    """AdamW over the weights of the full-size model: one after the other, and in one pass."""
    step = Step(options, 128)
    step.ours()
    ways = {
        fused: torch.optim.AdamW(step.model.parameters(), lr=0.0, foreach=False, fused=fused)
        for fused in (False, True)
    }
    times: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(options.steps + 1):
        for fused, optimizer in ways.items():
            start = now(step.device)
            optimizer.step()
            if turn:
                times[fused].append(now(step.device) - start)
    ratio = statistics.median(a / b for a, b in zip(times[False], times[True], strict=True))
    print(
        f"AdamW: {statistics.median(times[False]) * 1e3:.0f} ms, fused "
        f"{statistics.median(times[True]) * 1e3:.0f} ms, {ratio:.1f} times",
        flush=True,
    )


def print_prediction(options: argparse.Namespace) -> None:
    """Images per second of a prediction, by batch size; the plain one for comparison."""
    for batch in (1, 2, 4, 8):
        step = Step(argparse.Namespace(**{**vars(options), "batch": batch}), options.size)
        step.model.eval()
        times: dict[str, list[float]] = {"ours": [], "plain": []}
        rates = []
        with torch.inference_mode():
            for turn in range(options.steps + 1):
                rates.append(product_rate(options.device))
                start = now(step.device)
                step.model(step.image, step.features)
                times["ours"].append(now(step.device) - start)
                if batch == 2 and turn and not options.no_plain:
                    start = now(step.device)
                    plain_logits(step.model, step.image, step.features)
                    times["plain"].append(now(step.device) - start)
        own = times["ours"][1:]
        line = f"prediction, batch {batch}: {batch / statistics.median(own):.2f} images/s"
        work = flops(options, options.size) / 3 * batch / options.batch
        line += f", {work / statistics.median(rates) / statistics.median(own):.0%} of the product's rate"
        if times["plain"]:
            ratio = statistics.median(b / a for a, b in zip(own, times["plain"], strict=True))
            line += (
                f"; plain torch {batch / statistics.median(times['plain']):.2f}, ours {ratio:.1f} times that"
            )
        print(line, flush=True)


def flops(options: argparse.Namespace, size: int) -> float:
    """GFLOP of a step as the plain layers do it: nothing computed twice, no sample dropped."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from mghft.model import chunked_mlp as module

    usual, module.MIN_ENTRIES = module.MIN_ENTRIES, sys.maxsize
    # The counter doesn't know every fused attention; written out, it is plain products.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        step = Step(options, size)
        for part in step.model.modules():
            if isinstance(part, DropPath):
                part.probability = 0.0
        step.ours()
    module.MIN_ENTRIES = usual
    return counter.get_total_flops() / 1e9


def print_parts(options: argparse.Namespace) -> None:
    """Where the time of one step goes, from torch's profiler."""
    from torch.profiler import profile

    step = Step(options, options.size)
    step.ours()
    with profile() as profiler:
        step.ours()
    events = {event.key: event for event in profiler.key_averages()}
    on_gpu = options.device.startswith("cuda")
    own = {
        key: (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e3
        for key, event in events.items()
    }
    total = sum(own.values())
    print(f"parts of an fp32 step of {total:.0f} ms (profiled, so a little slower):")
    named = 0.0
    for group, names in GROUPS.items():
        exact = group not in ("attention", "LayerNorm")
        spent = sum(
            time
            for key, time in own.items()
            if (key in names if exact else any(key.startswith(name) for name in names))
        )
        print(f"  {group:26} {spent:7.0f} ms {spent / total:5.0%}")
        named += spent
    print(f"  {'everything else':26} {total - named:7.0f} ms {(total - named) / total:5.0%}")
    sys.stdout.flush()


def print_growth(options: argparse.Namespace) -> None:
    """Time and work at other sizes, per patch: what stays the same grows with the number of patches."""
    print("growth with the picture (fp32):")
    for size in (224, 448, 672):
        step = Step(options, size)
        step.ours()
        total = min(sum(step.ours()) for _ in range(2))
        patches = (size // 4) ** 2 * options.batch
        print(
            f"  {size} px: {total:6.3f} s, {total / patches * 1e6:6.1f} µs and "
            f"{flops(options, size) / patches * 1e3:5.2f} MFLOP a patch of stage 1",
            flush=True,
        )


def print_text(options: argparse.Namespace) -> None:
    """A BERT-base of random weights on four texts per sticker: what a step would pay without the cache."""
    from transformers import BertConfig, BertModel

    device = torch.device(options.device)
    encoder = BertModel(BertConfig()).to(device).eval()
    for length in (32, 512):
        tokens = torch.randint(0, 1000, (4 * options.batch, length), device=device)
        times = []
        with torch.no_grad():
            for _ in range(2):
                start = now(device)
                encoder(input_ids=tokens, output_hidden_states=True)
                times.append(now(device) - start)
        print(f"text encoder, {4 * options.batch} texts of {length} tokens: {min(times):.3f} s", flush=True)


def product_rate(device: str) -> float:
    """GFLOP/s of a large fp32 product on this device, now."""
    matrix = torch.randn(2048, 2048, device=device)
    times = []
    for _ in range(10):
        start = now(torch.device(device))
        matrix @ matrix
        times.append(now(torch.device(device)) - start)
    return 2 * 2048**3 / statistics.median(times) / 1e9


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


SECTIONS = {
    "parts": print_parts,
    "prediction": print_prediction,
    "optimizer": print_optimizer,
    "growth": print_growth,
    "text": print_text,
}

if __name__ == "__main__":
    main()
