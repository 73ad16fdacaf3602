"""The parts of the tiny LLaVA's training: texts, tokenizer, chat template, augmentation, saving."""

import json

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoProcessor, LlavaForConditionalGeneration

from mghft.pipeline.corpora.emoji.table import LABELS, STAND_IN_STYLES, Emoji
from mghft.pipeline.tiny_llava import shipped
from mghft.pipeline.tiny_llava.evaluate import Picture, measure, read_response
from mghft.pipeline.tiny_llava.images import augment, normalize, to_ink
from mghft.pipeline.tiny_llava.modeling import (
    IMAGE_TOKENS,
    SPECIAL_TOKENS,
    build_model,
    build_processor,
    build_tokenizer,
    save_checkpoint,
    start_tower,
)
from mghft.pipeline.tiny_llava.texts import STYLE_TEXTS, Entry, as_response, describe
from mghft.pipeline.tiny_llava.train import PROMPT_END, batches
from mghft.pipeline.views import VIEWS

CRYING = Emoji("1F622", "😢", "crying face", "sadness", "emotag", False, 0, True, None, {})
ENTRY = Entry(("sad", "face", "tear", "cry", "omg"), "face-concerned")
VIEWS_OF_CRYING = describe(CRYING, ENTRY, "openmoji")


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer([as_response(VIEWS_OF_CRYING)])


def test_a_description_has_the_four_views_in_their_order():
    assert tuple(VIEWS_OF_CRYING) == VIEWS


def test_texts_are_made_of_names_and_tags():
    assert VIEWS_OF_CRYING["content"] == "Crying face."
    assert VIEWS_OF_CRYING["intention"] == "To express sad, cry."
    assert VIEWS_OF_CRYING["details"] == "Concerned face: tear."


@pytest.mark.parametrize("label", LABELS)
def test_the_class_label_does_not_reach_the_texts(label):
    other = Emoji("1F622", "😢", "crying face", label, "hand", False, 0, True, None, {})
    assert describe(other, ENTRY, "openmoji") == VIEWS_OF_CRYING


def test_every_style_of_the_training_has_its_own_text():
    assert set(STYLE_TEXTS) == set(STAND_IN_STYLES)
    assert len(set(STYLE_TEXTS.values())) == len(STAND_IN_STYLES)


def test_responses_have_no_whitespace_between_json_tokens():
    text = as_response({"content": "A: b, c.", "style": "d"})
    assert text == '{"content":"A: b, c.","style":"d"}'


def test_the_tokenizer_writes_any_text_and_reads_it_back(tokenizer):
    text = '{"content":"grüß 😢\\n"}'
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_prompts_last_token_is_the_one_that_training_uses(tokenizer):
    assert tokenizer.convert_ids_to_tokens(PROMPT_END) == "<describe>"
    assert tuple(tokenizer.convert_ids_to_tokens(range(len(SPECIAL_TOKENS)))) == SPECIAL_TOKENS


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Describe this."}]}],
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "<image> or what?"}, {"type": "image"}]},
        ],
        [{"role": "user", "content": "<image>\nDescribe this."}],
    ],
)
def test_every_prompt_becomes_the_same_short_one(tokenizer, messages):
    prompt = build_processor(tokenizer).apply_chat_template(messages, add_generation_prompt=True)
    assert prompt == "<s><image><describe>"


def test_white_paper_is_zero_for_the_network():
    assert normalize(to_ink(Image.new("RGBA", (224, 224), (255, 0, 0, 0)))).abs().max() == 0


def test_the_processor_sees_what_training_saw(tokenizer):
    picture = Image.linear_gradient("L").convert("RGB")
    pixels = build_processor(tokenizer).image_processor(picture, return_tensors="pt")["pixel_values"][0]
    assert (pixels - normalize(to_ink(picture))).abs().max() < 0.05


def test_augmentation_of_no_strength_leaves_the_images():
    ink = torch.rand(4, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    same = augment(ink, torch.ones(4, dtype=torch.bool), 0.0, torch.Generator().manual_seed(0))
    assert torch.allclose(same, ink, atol=1e-4)


def test_augmentation_keeps_paper_white_and_ink_in_range():
    ink = torch.zeros(4, 3, 112, 112)
    assert augment(ink, torch.ones(4, dtype=torch.bool), 1.0, torch.Generator().manual_seed(0)).max() == 0
    full = augment(ink + 1, torch.ones(4, dtype=torch.bool), 1.0, torch.Generator().manual_seed(0))
    assert full.min() >= 0 and full.max() <= 1


def test_an_epoch_shows_every_example_once():
    seen = torch.cat(list(batches(10, 5, 4, torch.Generator().manual_seed(0))))
    assert sorted(seen[:10].tolist()) == sorted(seen[10:].tolist()) == list(range(10))
    assert seen[:10].tolist() != seen[10:].tolist()


def test_the_tower_starts_from_whitened_patches(tokenizer):
    tower = build_model(tokenizer).model.vision_tower
    pixels = torch.randn(40, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 3
    start_tower(tower, pixels)
    embedding = next(m.patch_embedding for m in tower.modules() if hasattr(m, "patch_embedding"))
    with torch.no_grad():
        projected = embedding(pixels).flatten(2).transpose(1, 2).reshape(-1, 192)
    assert projected.std(0).mean() == pytest.approx(1.0, abs=0.1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_saved_checkpoint_has_published_names_and_loads_with_nothing_missing(tokenizer, tmp_path):
    save_checkpoint(build_model(tokenizer), build_processor(tokenizer), tmp_path)
    names = load_file(tmp_path / "model.safetensors")
    tower = [name for name in names if name.startswith("vision_tower.")]
    assert tower and all(name.startswith("vision_tower.vision_model.") for name in tower)
    _, report = LlavaForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    prompt = AutoProcessor.from_pretrained(tmp_path)(
        images=[Image.new("RGB", (224, 224))], text=["<s><image><describe>"], return_tensors="pt"
    )
    assert prompt["input_ids"].shape == (1, IMAGE_TOKENS + 2)


@pytest.mark.parametrize(
    "text",
    [
        '{"content":"a"',
        "[]",
        '{"content":"a"}',
        json.dumps(dict.fromkeys(VIEWS, " ")),
        json.dumps(dict.fromkeys(VIEWS, 1)),
    ],
)
def test_a_response_that_is_not_the_four_views_is_invalid(text):
    assert read_response(text) is None


def test_an_invalid_response_counts_as_wrong_and_a_named_emoji_counts_by_its_label():
    picture = Picture(CRYING, Image.new("RGB", (8, 8)))
    figures = measure(
        [picture] * 3,
        [
            as_response(VIEWS_OF_CRYING),
            as_response(VIEWS_OF_CRYING | {"content": "Loudly crying face."}),
            "{",
        ],
    )
    assert figures.valid_json == pytest.approx(2 / 3, abs=1e-3)
    assert figures.seen.name_exact == pytest.approx(1 / 3, abs=1e-3)
    assert figures.seen.emotion_right == pytest.approx(2 / 3, abs=1e-3)
    assert figures.distinct_texts["content"] == 2


def test_a_missing_checkpoint_is_answered_in_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(shipped, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(FileNotFoundError, match=r"has no model\.safetensors; .*--out DIR`\.$"):
        shipped.checkpoint_path()
