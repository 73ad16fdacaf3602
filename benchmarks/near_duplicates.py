"""How well near duplicates are found, and how long the search takes at 30,000 images; see --help.

Pairs are generated from a corpus of pictures (emoji by default): the same picture encoded anew, made smaller,
cropped a little, mirrored. A reported pair of two different stickers counts as false, although some of them
are all but the same picture (neutral face and slightly smiling face of one style).
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

sys.path.insert(0, str(Path(__file__).parents[1]))
from mghft.pipeline.audit.duplicates import NEAR, find_duplicates
from mghft.pipeline.audit.hashes import Fingerprints, take_fingerprints
from mghft.pipeline.audit.near import HASH_BITS, near_pairs
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.images.decode import decode_image

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("demo/data"), help="root of the emoji corpus")
    parser.add_argument("--near", type=float, default=NEAR)
    parser.add_argument("--count", type=int, default=30_000, help="images of the search that is timed")
    parser.add_argument("--every", type=int, default=5, help="only every n-th sticker gets a copy")
    options = parser.parse_args()
    corpus = load_corpus(load_card("emoji"), options.data)
    print(f"threshold {options.near}, hashes within {HASH_BITS} of 64 bits")
    alone = find_duplicates(corpus, near=options.near).pairs
    print(f"the corpus itself: {len(alone)} pairs among {len(corpus.stickers)} stickers", flush=True)
    some = Corpus(corpus.card, corpus.root, corpus.stickers[:: options.every])
    for name, (change, suffix) in CHANGES.items():
        judge(name, change, suffix, some, options.near)
    search(corpus, options.count, options.near)


def jpeg(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """The quality is set when it is saved."""
    return image


def smaller(image: Image.Image, random: np.random.Generator) -> Image.Image:
    factor = random.uniform(0.4, 0.9)
    return image.resize((int(image.width * factor), int(image.height * factor)), Image.Resampling.BILINEAR)


def cropped(share: float) -> Change:
    def change(image: Image.Image, random: np.random.Generator) -> Image.Image:
        left, top, right, bottom = random.uniform(0, share, 4)
        wide, high = image.size
        return image.crop(
            (int(left * wide), int(top * high), int(wide - right * wide), int(high - bottom * high))
        )

    return change


CHANGES: dict[str, tuple[Change, str]] = {
    "JPEG of quality 40 to 90": (jpeg, "jpg"),
    "resized to 40 to 90 %": (smaller, "png"),
    "each side cropped by up to 3 %": (cropped(0.03), "png"),
    "the same as JPEG": (cropped(0.03), "jpg"),
    "each side cropped by up to 5 %": (cropped(0.05), "png"),
    "mirrored": (lambda image, random: ImageOps.mirror(image), "png"),
    "mirrored, JPEG": (lambda image, random: ImageOps.mirror(image), "jpg"),
}


def judge(name: str, change: Change, suffix: str, corpus: Corpus, near: float) -> None:
    """Recall and precision over the corpus together with one changed copy of every sticker."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        stickers = []
        for number, sticker in enumerate(corpus.stickers):
            image = decode_image(corpus.root, sticker.path)
            quality = int(random.integers(40, 91))
            image.save(root / f"{number}-a.png", compress_level=1)
            change(image, random).save(root / f"{number}-b.{suffix}", compress_level=1, quality=quality)
            for path in (f"{number}-a.png", f"{number}-b.{suffix}"):
                stickers.append(Sticker(id=path, path=path, split="all"))
        pairs = find_duplicates(Corpus(corpus.card, root, stickers), near=near).pairs
    true = sum(pair.first.id.split("-")[0] == pair.second.id.split("-")[0] for pair in pairs)
    count, false = len(corpus.stickers), len(pairs) - true
    print(
        f"{name:31} recall {true / count:6.1%}, precision {true / max(1, len(pairs)):6.1%} "
        f"({true} of {count} found, {false} pairs of different stickers)",
        flush=True,
    )


def search(corpus: Corpus, count: int, near: float) -> None:
    """Times the search among as many fingerprints, made of the corpus' own: as crowded, all different."""
    prints = take_fingerprints(corpus.root, [sticker.path for sticker in corpus.stickers])
    random = np.random.default_rng(0)
    rows = random.integers(0, len(prints.numbers), count)

    def noisy(hashes: np.ndarray) -> np.ndarray:
        bits = random.random((count, 2, 64)) < 0.12
        return hashes[rows] ^ np.packbits(bits, axis=-1).view(np.uint64)[..., 0]

    thumbs = np.stack([np.roll(prints.thumbs[row], random.integers(4, 28, 2), (1, 2)) for row in rows])
    many = Fingerprints(
        np.arange(count), [""] * count, [""] * count, noisy(prints.hashes), noisy(prints.mirrored), thumbs, []
    )
    start = time.perf_counter()
    found = sum(1 for _ in near_pairs(many, np.arange(count), near))
    print(f"search among {count} fingerprints: {time.perf_counter() - start:.1f} s, {found} pairs")


if __name__ == "__main__":
    main()
