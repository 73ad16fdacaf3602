"""Writes copies of MET-Meme with every oddity that was measured on the authors' files; texts are generated.

The counts are those of the authors' files; which row has which value is drawn here.
"""

from __future__ import annotations

import csv
import functools
import io
import os
import random
from collections.abc import Callable
from pathlib import Path

from PIL import Image

ROWS = {"en": 4000, "zh": 6045}
LETTER = {"en": "E", "zh": "C"}
FIRST = {"en": 0, "zh": 1}
NO_IMAGE = (7, 77, 777, 1777, 2777, 3777)

VALUES = {
    "sentiment category": {
        "1(happiness)": (1050, 1481),
        "2(love)": (693, 1123),
        "3(anger)": (557, 987),
        "4(sorrow)": (583, 1178),
        "5(fear)": (123, 210),
        "6(hate)": (701, 681),
        "7(surprise)": (293, 385),
    },
    "sentiment degree": {"1(slightly)": (3226, 2982), "2(moderately)": (638, 2357), "3(very)": (136, 706)},
    "intention detection": {
        "1(interactive)": (220, 1729),
        "2(expressive)": (1296, 2712),
        "3(entertaining)": (1464, 560),
        "4(offensive)": (1011, 1002),
        "5(other)": (9, 40),
        "表达情感": (0, 2),
    },
    "offensiveness detection": {
        "0(non-offensive)": (3006, 4751),
        "1(slightly)": (857, 655),
        "2(moderately)": (107, 419),
        "3(very)": (30, 220),
    },
    "metaphor occurrence": {"0": (2886, 3717), "1": (1114, 2328)},
}
DOMAINS = {"en": ["TARGET domain", "SOURCE domain"], "zh": ["SOURCE domain", "TARGET domain"]}


def name_in_table(language: str, number: int) -> str:
    return f"image_ ({number}).jpg" if language == "en" else f"Image_({number}).jpg"


def name_on_disk(language: str, number: int) -> str:
    return f"image_ ({number}).jpg" if language == "en" else f"Image- ({number}).jpg"


def numbers(language: str) -> list[int]:
    """As in the tables: in the order of their spelling, 0, 1, 10, 100."""
    return sorted(range(FIRST[language], FIRST[language] + ROWS[language]), key=str)


@functools.cache
def label_rows(language: str) -> list[list[str]]:
    """Header and rows of label_E or label_C."""
    side = 0 if language == "en" else 1
    draw = random.Random(language)
    columns = {}
    for name, values in VALUES.items():
        cells = [value for value, counts in values.items() for _ in range(counts[side])]
        draw.shuffle(cells)
        columns[name] = cells
    category = {"en": ["complementary"] * 710 + ["text dominant"] * 246 + ["image dominant"] * 158}
    category["zh"] = ["complementary"] * 735 + ["text dominant"] * 1497 + ["image dominant"] * 95
    category["zh"].append("image主导")
    categories = iter(category[language])
    odd = iter(["图像"] if language == "en" else ["image与text互补主导"] * 4 + ["image加text", "0"])
    header = ["file_name" if language == "en" else "images_name", *VALUES, "metaphor category"]
    rows = [header + DOMAINS[language] + ["target modality", "source modality"]]
    for place, number in enumerate(numbers(language)):
        row = [name_in_table(language, number), *(columns[name][place] for name in VALUES)]
        metaphor = row[-1] == "1"
        row += [next(categories), "me;food", "cat", "text", next(odd, "image")] if metaphor else [""] * 5
        rows.append(row)
    return rows


@functools.cache
def text_rows(language: str) -> list[list[str]]:
    """Header and rows of E_text or C_text, in another order than the labels'."""
    empty, lines = (58, 2629) if language == "en" else (228, 442)
    rows = []
    for place, number in enumerate(numbers(language)):
        words = f"“meme” {number}" if language == "en" else f"表情包 {number}，鎔"
        text = "" if place < empty else words.replace(" ", "\n") if place < empty + lines else words
        rows.append([name_in_table(language, number), text])
    return [["file_name" if language == "en" else "images_name", "text"], *rows[::-1]]


def write_csv(path: Path, rows: list[list[str]], *, encoding: str, width: int = 0) -> None:
    """CRLF, no mark, `width` columns of which the last ones are empty."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([row + [""] * (width - len(row)) for row in rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.getvalue().encode(encoding))


def write_tables(root: Path, language: str, encoding: str | None = None) -> None:
    """Both tables of a language in the authors' encodings and widths."""
    letter = LETTER[language]
    chosen = encoding or ("gb2312" if language == "en" else "gbk")
    labels, texts = (254, 245) if language == "en" else (11, 12)
    write_csv(root / f"label_{letter}.csv", label_rows(language), encoding=chosen, width=labels)
    write_csv(root / f"{letter}_text.csv", text_rows(language), encoding=chosen, width=texts)


def write_images(
    root: Path,
    folder: str,
    language: str,
    name: Callable[[str, int], str] = name_on_disk,
    only: list[int] | None = None,
) -> None:
    """One picture under many names; of the whole corpus, six English memes have none."""
    target = root / folder
    target.mkdir(parents=True, exist_ok=True)
    picture = target / ".picture"
    Image.new("RGB", (1, 1)).save(picture, "JPEG")
    for number in numbers(language) if only is None else only:
        if only is not None or language == "zh" or number not in NO_IMAGE:
            os.link(picture, target / name(language, number))
    picture.unlink()
