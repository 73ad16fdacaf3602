"""The training of the tiny LLaVA, on a few circles: it learns, and no emotion label is read."""

import dataclasses

import eye_art
import pytest
import torch

from mghft.pipeline.corpora.emoji import art
from mghft.pipeline.corpora.emoji.augment import to_ink, to_input
from mghft.pipeline.tiny_llava import train
from mghft.pipeline.tiny_llava.modeling import build_tokenizer
from mghft.pipeline.tiny_llava.texts import LANGUAGES, Entry, as_response, describe
from mghft.pipeline.tiny_llava.train import Options, Training


@pytest.fixture(scope="module")
def drawings():
    with pytest.MonkeyPatch.context() as patch:
        eye_art.offline(patch.setattr)  # its table raises where a label is read
        found = art.load_art(("one", "two"), rendered=112, side=112)
    styles = ("openmoji", "fxemoji")
    return dataclasses.replace(found, counts=dict(zip(styles, found.counts.values(), strict=True)))


@pytest.fixture
def run(drawings, monkeypatch):
    monkeypatch.setattr(train, "SHARED_BY", 1)
    entries = {
        emoji.hexcode: {
            "en": Entry(emoji.label, ("circle", emoji.label[:3]), "Shape"),
            "zh": Entry("圆", ("圆形",), "符号"),
        }
        for emoji in drawings.known
    }
    texts = [
        as_response(describe(own[language], style, language))
        for own in entries.values()
        for language in LANGUAGES
        for style in drawings.counts
    ]
    options = Options(
        tower_steps=40, tower_batch=8, language_steps=10, language_batch=8, strength=0.2, device="cpu"
    )
    return Training(drawings, entries, build_tokenizer(texts), options)


def test_both_stages_learn(run, drawings, capsys):
    rows = torch.arange(6)
    pixels, texts = (
        to_input(to_ink(drawings.pictures[rows])),
        run.texts(drawings.identity[rows], drawings.style[rows]),
    )

    @torch.no_grad()
    def losses():
        patches = run.tower(pixels).last_hidden_state
        return run.judge(patches, rows).item(), run.written(patches, *texts).item()

    tower, written = losses()
    run.train_tower({"one": (drawings.pictures[:6], drawings.identity[:6])})
    run.train_language()
    tower_after, written_after = losses()
    assert tower_after < tower and written_after < written - 1
    printed = capsys.readouterr().out
    assert "tower 40/40: loss" in printed and "language 10/10: loss" in printed
    assert "named right one 0." in printed or "named right one 1." in printed


def test_some_are_mixed_with_their_neighbour_and_the_others_left(run):
    patches = torch.arange(40.0).view(40, 1, 1).expand(40, 3, 2)
    changed = run.mixed(patches)[:, 0, 0] - torch.arange(40.0)
    # By at most half the way to the one before, which for the first is the last.
    assert changed[0] >= 0 and (changed[1:] <= 0).all() and (changed[1:] >= -0.5).all()
    assert 10 < (changed != 0).sum() < 36


def test_the_same_seed_draws_the_same(run, drawings):
    again = Training(drawings, run.entries, run.tokenizer, run.options)
    first, second = run.draw(4, 1.0), again.draw(4, 1.0)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    seen = torch.arange(3), torch.zeros(3, dtype=torch.long)
    assert all(torch.equal(a, b) for a, b in zip(run.texts(*seen), again.texts(*seen), strict=True))
