"""Not one architecture: four kinds of checkpoints, each with its own template, image token and processor.

All go through the real vLLM, by the one command and the one code. A model of no use ends in one sentence.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from describe_bench import make_corpus
from PIL import Image
from tiny_models import ARCHITECTURES, text_only

from mghft.pipeline.runs.shards import read_descriptions
from mghft.pipeline.views import VIEWS

pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).parents[3]
STICKERS = 12
# Width and height; a colour of its own and a pattern for every sticker.
SIZES = ((112, 112), (224, 112), (112, 224), (168, 168))
# The words are the same few for every sticker, so what differs in a prompt's length is the image.
PACK = """
name: tiny
user: "{% for view in views %}{{ view.name }} {% endfor %}"
views: {content: a, style: b, intention: c, details: d}
sampling: {max_tokens: 200}
"""
SETTINGS = "{prompt: %s, vllm: {max_num_seqs: 16, max_model_len: 512, dtype: float32}}"
BY_COMMAND = "llava_onevision"
# The damaged one last: a start that fails half-way is not expected to leave the process fit for another.
UNUSABLE = ("unusable/text_only", "unusable/without_template", "unusable/damaged")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Corpus, settings and the four checkpoints in one folder; returns the folder."""
    folder = tmp_path_factory.mktemp("architectures")
    colours = np.random.default_rng(0)
    (folder / "corpus" / "images").mkdir(parents=True)
    for number in range(STICKERS):
        pattern = colours.integers(0, 200, 3) + colours.integers(0, 50, (7, 7, 3))
        image = Image.fromarray(pattern.astype(np.uint8)).resize(SIZES[number % 4], Image.Resampling.NEAREST)
        image.save(folder / f"corpus/images/{number:04d}.png")
    make_corpus(folder / "corpus", STICKERS)
    (folder / "pack.yaml").write_text(PACK, encoding="utf-8")
    (folder / "settings.yaml").write_text(SETTINGS % (folder / "pack.yaml"), encoding="utf-8")
    for name, build in ARCHITECTURES.items():
        build(folder / name)
    text_only(folder / "unusable" / "text_only")
    for name in ("without_template", "damaged", "pickled"):
        shutil.copytree(folder / "llava", folder / "unusable" / name)
    (folder / "unusable" / "without_template" / "chat_template.jinja").unlink()
    weights = folder / "unusable" / "damaged" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    weights = folder / "unusable" / "pickled" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    return folder


@pytest.fixture(scope="module")
def printed(bench):
    """What the process prints that describes with all models."""
    child = Path(__file__).parents[1] / "support" / "models_child.py"
    again = [name for name in ARCHITECTURES if name != BY_COMMAND]
    arguments = ["corpus/squares.md", "settings.yaml", "runs", *ARCHITECTURES, *again, *UNUSABLE]
    done = subprocess.run(
        [sys.executable, child, *arguments],
        cwd=bench,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def runs(printed):
    """[model, rows, error] of every run."""
    return printed[0]


@pytest.fixture(scope="module")
def rows(runs):
    """Rows of every usable model by name: of its first run and, where there is one, of its second."""
    assert [error for model, _, error in runs if model in ARCHITECTURES and error] == []
    return {name: [found for model, found, _ in runs if model == name] for name in ARCHITECTURES}


each_model = pytest.mark.parametrize("name", ARCHITECTURES)


@each_model
def test_every_sticker_gets_an_answer_in_the_form_of_the_views(rows, name):
    run = rows[name][0]
    assert len(run) == STICKERS
    for row in run:
        # A random model may write until the limit of tokens: that is its failure, and the only one allowed.
        assert row["raw"].startswith('{"content":"')
        assert row["status"] == "ok" or row["error"].startswith("the answer was cut at the token limit")
    # How many finish hangs on the last digits of the machine: five to twelve where this was written.
    good = [row for row in run if row["status"] == "ok"]
    assert good
    assert all(list(json.loads(row["raw"])) == list(VIEWS) for row in good)


@each_model
def test_the_text_depends_on_the_image(rows, name):
    same_size = [row["raw"] for row in rows[name][0]][::4]
    assert len(set(same_size)) > 1


def test_the_prompt_holds_the_image_tokens_of_the_models_own_rule(rows):
    def tokens(name):
        return [row["prompt_tokens"] for row in rows[name][0][:4]]

    square, wide, tall, larger = tokens("llava")
    assert square == wide == tall == larger
    # The whole image, and its tiles with one token for each line: four tiles of 4x4, or two.
    for name in ("llava_next", "llava_onevision"):
        square, wide, tall, larger = tokens(name)
        assert square == larger
        assert square - wide == (4 * 16 + 8) - (2 * 16 + 4)
        assert square - tall == (4 * 16 + 8) - (2 * 16 + 8)
    # One token for every 28x28 pixels.
    square, wide, tall, larger = tokens("qwen2_5_vl")
    assert (wide - square, tall - square, larger - square) == (32 - 16, 32 - 16, 36 - 16)


@each_model
def test_prompt_and_text_are_those_of_vllms_own_chat(printed, name):
    ours, chat = printed[1][name]
    assert ours == chat
    assert len({text for _, text in ours}) == 2


def test_a_second_run_writes_the_same_texts(rows):
    compared = 0
    for name, (first, *second) in rows.items():
        for run in second:
            assert [row["raw"] for row in run] == [row["raw"] for row in first], name
            compared += len(run)
    assert compared == STICKERS * (len(ARCHITECTURES) - 1)


def test_the_command_in_a_new_process_writes_the_same_texts(bench, rows):
    done = mghft("describe", "corpus/squares.md", "--data", "corpus", "--out", "by-command",
                 "--model", BY_COMMAND, "--config", "settings.yaml", cwd=bench)  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = read_descriptions(bench / "by-command").sort_by("sticker_id").to_pylist()
    assert [row["raw"] for row in found] == [row["raw"] for row in rows[BY_COMMAND][0]]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("unusable/text_only", "the model text_only cannot be asked about images: "),
        ("unusable/without_template", "the model without_template cannot be asked about images: "),
        ("unusable/damaged", "vLLM cannot start the model damaged: "),
    ],
)
def test_a_model_of_no_use_ends_the_run_in_one_sentence_and_leaves_its_folder_free(runs, bench, model, words):
    (error,) = [error for name, _, error in runs if name == model]
    # All three had the same run folder: a half-started run would have refused the next.
    assert error.startswith(words)
    assert "\n" not in error and len(error) > len(words)
    assert list((bench / "runs" / "unusable").glob("*.parquet")) == []


def test_weights_in_a_pickle_are_refused_before_the_engine_starts(bench):
    done = mghft("describe", "corpus/squares.md", "--data", "corpus", "--out", "pickled",
                 "--model", "unusable/pickled", cwd=bench)  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: the model folder unusable/pickled has no ")
    assert done.stderr.endswith("safetensors: give a complete checkpoint in safetensors\n")
    assert done.stderr.count("\n") == 1
    assert not (bench / "pickled").exists()


def mghft(*arguments, cwd):
    """The command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "mghft", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


KNOWN_MODELS = ("llava", "qwen", "onevision", "internvl", "idefics", "gemma", "smolvlm", "pixtral", "mistral")


def test_the_code_knows_no_model_by_name():
    """Strings and names of the code count, docstrings may name examples."""
    rooms = ("describe", "engines", "images", "prompting", "runs", "trials")
    modules = [path for room in rooms for path in sorted((ROOT / "mghft" / "pipeline" / room).glob("*.py"))]
    assert len(modules) > 30
    found = [
        f"{path.name}:{line}: {word}"
        for path in modules
        for line, text in _words_of_the_code(ast.parse(path.read_text(encoding="utf-8")))
        for word in KNOWN_MODELS
        # The shipped stand-in is ours, and the one model with a name.
        if word in re.sub("tiny[_-]llava", "", text.lower())
    ]
    assert found == []


def _words_of_the_code(tree):
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, holders) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom | ast.Import):
            yield node.lineno, " ".join([getattr(node, "module", "") or "", *(a.name for a in node.names)])
