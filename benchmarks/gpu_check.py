"""Every network on a GPU beside the same on the CPU, and what a full-size step takes in each precision.

Prints, for MGHFT and each peer at 448 px: how far logits and gradients of the two devices are apart in
float32 (TF32 off), whether the selected patches are the same, and how far bfloat16 and float16 autocast are
from float32. Then step times and memory at several batch sizes. Nothing is kept.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from mghft.model import MGHFT, MGHFTConfig
from mghft.model.peers.build import build_network
from mghft.model.peers.config import NETWORKS, PeerConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, default=448)
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64, 128])
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("there is no GPU")
    print(torch.cuda.get_device_name(), "torch", torch.__version__)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for name in ("mghft", *NETWORKS):
        compare_devices(name, options.size)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    for name in ("mghft", "lora", "tgca-pvt", "pvt"):
        for batch in options.batches:
            time_steps(name, options.size, batch, options.steps)


def network(name: str, size: int) -> torch.nn.Module:
    torch.manual_seed(0)
    if name == "mghft":
        return MGHFT(MGHFTConfig.preset("default", image_size=size))
    return build_network(PeerConfig.preset("default", network=name, image_size=size))


def inputs_of(model: torch.nn.Module, batch: int, size: int, device: str) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    config = model.config
    found: dict[str, Any] = {"image": torch.randn(batch, 3, size, size, generator=generator)}
    if isinstance(config, MGHFTConfig):
        shape = (batch, len(config.views), config.text_dim)
        found["text_features"] = torch.randn(*shape, generator=generator)
    else:
        if config.use_text:
            shape = (batch, config.text_length, config.text_dim)
            found["text_tokens"] = torch.randn(*shape, generator=generator)
        if config.reads_topic:
            found["topics"] = torch.arange(batch) // 2
    found["labels"] = torch.arange(batch) % config.num_classes
    return {name: value.to(device) for name, value in found.items()}


def compare_devices(name: str, size: int) -> None:
    """Float32 on both devices, then autocast on the GPU."""
    found = {}
    for device in ("cpu", "cuda"):
        # Evaluation mode: dropout and DropPath draw other numbers on another device.
        model = network(name, size).to(device).eval()
        inputs = inputs_of(model, 4, size, device)
        image = inputs.pop("image").requires_grad_()
        output = model(image, **inputs)
        output.loss.backward()
        gradients = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        found[device] = (output.logits.detach().cpu(), gradients.cpu(), [i.cpu() for i in output.lra_indices])
        if device == "cuda":
            for kind in (torch.bfloat16, torch.float16):
                with torch.no_grad(), torch.autocast("cuda", kind):
                    half = model(image, **inputs)
                difference = (half.logits.float().cpu() - found["cuda"][0]).abs().max()
                same = [
                    float((a.cpu().sort(-1).values == b.sort(-1).values).float().mean())
                    for a, b in zip(half.lra_indices, found["cuda"][2], strict=True)
                ]
                print(f"  {name} {kind}: logits differ by {difference:.1e}, patches equal {same}")
    (a, g, i), (b, h, j) = found["cpu"], found["cuda"]
    patches = [bool((one == other).all()) for one, other in zip(i, j, strict=True)]
    print(
        f"{name}: CPU and GPU logits differ by {(a - b).abs().max():.1e} of {a.abs().max():.1f}, "
        f"gradients by {(g - h).norm() / g.norm():.1e} of their norm, same patches {patches}",
        flush=True,
    )


def time_steps(name: str, size: int, batch: int, steps: int) -> None:
    """Forward, backward and AdamW; text features are cached, as in training."""
    model = network(name, size).cuda().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    inputs = inputs_of(model, batch, size, "cuda")
    image = inputs.pop("image")
    for label, kind in (("fp32 (TF32)", None), ("bf16", torch.bfloat16)):
        torch.cuda.reset_peak_memory_stats()
        seconds = []
        try:
            for _ in range(steps + 2):
                torch.cuda.synchronize()
                started = time.perf_counter()
                with torch.autocast("cuda", kind or torch.bfloat16, enabled=kind is not None):
                    loss = model(image, **inputs).loss
                loss.backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                torch.cuda.synchronize()
                seconds.append(time.perf_counter() - started)
        except torch.OutOfMemoryError:
            print(f"{name} {label} batch {batch}: out of memory", flush=True)
            continue
        median = statistics.median(seconds[2:])
        memory = torch.cuda.max_memory_allocated() / 2**30
        print(
            f"{name} {label} batch {batch}: {1000 * median:.1f} ms a step, {batch / median:.0f} stickers/s, "
            f"{memory:.1f} GiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
