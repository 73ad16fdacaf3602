"""Time and peak memory of a training step of the full-size model, by part, and how it grows; see --help.

Forward and backward, without optimizer; text features are cached, as in training, and the cost of the text
encoder that this saves is printed apart. Steps are medians, the rest the best of two. Each precision runs in
a process of its own, so that its peak memory is its own.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from mghft.model import MGHFT, MGHFTConfig

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
    parser.add_argument("--only", choices=("step", "parts", "growth", "text"), help="one section")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.bf16 or options.only == "step":
        measure_step(options)
        return
    if options.only is None:
        rate = product_rate(options.device)
        print(f"device {options.device}, {torch.get_num_threads()} threads, batch {options.batch}")
        print(f"a product of 2048³ in fp32 runs at {rate:.0f} GFLOP/s: the bound below", flush=True)
        shared = [
            f"--{name}={getattr(options, name)}" for name in ("batch", "size", "steps", "threads", "device")
        ]
        shared = [option for option in shared if not option.endswith("=None")]
        for precision in (["--only", "step"], ["--bf16"]):
            command = [sys.executable, __file__, *shared, *precision]
            subprocess.run(command, check=True, env={**os.environ, "MGHFT_BENCH_RATE": str(rate)})
    for section, run in (("parts", print_parts), ("growth", print_growth), ("text", print_text)):
        if options.only in (None, section):
            run(options)


def build(options: argparse.Namespace, size: int) -> Callable[[], tuple[float, float]]:
    """A function that does one step and returns the seconds of forward and backward."""
    device = torch.device(options.device)
    config = MGHFTConfig.preset("default", image_size=size)
    model = MGHFT(config).to(device).train()
    image = torch.randn(options.batch, 3, size, size, device=device)
    features = torch.randn(options.batch, len(config.views), config.text_dim, device=device)
    labels = torch.arange(options.batch, device=device) % config.num_classes

    def step() -> tuple[float, float]:
        model.zero_grad(set_to_none=True)
        start = now(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=options.bf16):
            loss = model(image, features, labels=labels).loss
        middle = now(device)
        loss.backward()
        return middle - start, now(device) - middle

    step()
    return step


def measure_step(options: argparse.Namespace) -> None:
    step = build(options, options.size)
    times = [step() for _ in range(options.steps)]
    forward, backward = (statistics.median(column) for column in zip(*times, strict=True))
    device = torch.device(options.device)
    if device.type == "cuda":
        memory, whose = torch.cuda.max_memory_allocated() / 1e9, "GPU"
    else:
        memory, whose = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, "process"
    name = "bf16 autocast" if options.bf16 else "fp32"
    total = forward + backward
    print(
        f"{name} step, {options.size} px: forward {forward:.3f} s, backward {backward:.3f} s, "
        f"together {total:.3f} s (best {min(map(sum, times)):.3f}); "
        f"peak memory of the {whose} {memory:.2f} GB"
    )
    rate = float(os.environ.get("MGHFT_BENCH_RATE", "0"))
    if rate and not options.bf16:
        work = flops(options, options.size)
        print(
            f"  {work:.0f} GFLOP, {work / rate:.2f} s at the bound: {work / rate / total:.0%} of it reached"
        )
    sys.stdout.flush()


def flops(options: argparse.Namespace, size: int) -> float:
    """GFLOP of a step as the plain layers do it, nothing computed twice."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from mghft.model import chunked_mlp as module

    usual, module.MIN_ENTRIES = module.MIN_ENTRIES, sys.maxsize
    # The counter doesn't know every fused attention; written out, it is plain products.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        build(options, size)
    module.MIN_ENTRIES = usual
    return counter.get_total_flops() / 1e9


def print_parts(options: argparse.Namespace) -> None:
    """Where the time of one step goes, from torch's profiler."""
    from torch.profiler import profile

    step = build(options, options.size)
    with profile() as profiler:
        step()
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
        step = build(options, size)
        total = min(sum(step()) for _ in range(2))
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


if __name__ == "__main__":
    main()
