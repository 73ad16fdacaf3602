"""Run by test_trial_vllm in a process of its own: a trial under vLLM; prints starts, page and rows."""

import json
import sys
from pathlib import Path

from describe_bench import config

from mghft.pipeline.engines import vllm_engine
from mghft.pipeline.runs.shards import read_descriptions
from mghft.pipeline.trials.page import write_trial_page
from mghft.pipeline.trials.run import run_trial

card, trials = Path(sys.argv[1]), Path(sys.argv[2])
starts, original = [], vllm_engine.VllmEngine.__init__


def counted(self: vllm_engine.VllmEngine, *arguments: object, share_images: bool, **named: object) -> None:
    starts.append(share_images)
    original(self, *arguments, share_images=share_images, **named)


vllm_engine.VllmEngine.__init__ = counted
done = run_trial(
    config(card, trials, per_class=6, vllm={"max_num_seqs": 16}), ["multiview", "figure", "per-view"]
)
page, _ = write_trial_page(done, card.parent)
print(
    json.dumps(
        {
            "starts": starts,
            "page": str(page),
            "stickers": [sticker.id for sticker in done.stickers],
            "rows": [
                read_descriptions(done.folder / pack.folder).to_pylist() for pack in done.manifest.packs
            ],
        }
    )
)
