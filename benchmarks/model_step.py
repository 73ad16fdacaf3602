"""Time and peak memory of one training step of the full-size model; see --help."""

import argparse
import resource
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from model import MGHFT, MGHFTConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", type=int, default=448)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device(options.device)
    config = MGHFTConfig.preset("default", image_size=options.size)
    model = MGHFT(config).to(device).train()
    image = torch.randn(options.batch, 3, options.size, options.size, device=device)
    features = torch.randn(options.batch, len(config.views), config.text_dim, device=device)
    labels = torch.arange(options.batch, device=device) % config.num_classes
    print(f"device {device}, threads {torch.get_num_threads()}, batch {options.batch}, {options.size} px")
    for step in range(options.steps):
        marks = [now(device)]
        with torch.autocast(device.type, torch.bfloat16, enabled=options.bf16):
            loss = model(image, features, labels=labels).loss
        marks.append(now(device))
        loss.backward()
        marks.append(now(device))
        model.zero_grad(set_to_none=True)
        print(f"step {step}: forward {marks[1] - marks[0]:.3f} s, backward {marks[2] - marks[1]:.3f} s")
    if device.type == "cuda":
        print(f"peak GPU memory {torch.cuda.max_memory_allocated() / 1e9:.2f} GB")
    else:
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"peak memory of the process {kilobytes / 1e6:.2f} GB")


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
