"""Prompt packs: the shipped ones, strangers' ones, and text of a corpus that looks like a template."""

import pytest
import yaml

from pipeline.corpus import Sticker
from pipeline.prompts import load_pack, pack_names
from pipeline.views import VIEWS

STICKER = Sticker(id="a", path="a.png", split="train", text="hello")
FIELDS = {"name": "mine", "user": "Describe it.", "views": {view: f"the {view}" for view in VIEWS}}


def write(folder, **changes):
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**FIELDS, **changes}), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", pack_names())
def test_shipped_packs_load(name):
    assert load_pack(name).name == name


@pytest.mark.parametrize("name", pack_names())
def test_shipped_packs_ask_for_what_they_parse(name):
    pack = load_pack(name)
    for view in VIEWS:
        prompt = pack.render(STICKER, None if pack.mode == "joint" else view)
        assert view in prompt or pack.views[view] in prompt


@pytest.mark.parametrize("name", pack_names())
def test_shipped_packs_do_not_speak_of_text_where_there_is_none(name):
    pack = load_pack(name)
    bare = Sticker(id="a", path="a.png", split="train")
    assert "None" not in pack.render(bare, None if pack.mode == "joint" else "style")


@pytest.mark.parametrize("name", pack_names())
def test_text_of_a_sticker_is_never_a_template(name):
    pack = load_pack(name)
    hostile = Sticker(id="a", path="a.png", split="train", text="{{ 7 * 6 }}{% raw %}")
    prompt = pack.render(hostile, None if pack.mode == "joint" else "style")
    assert "{{ 7 * 6 }}{% raw %}" in prompt
    assert "42" not in prompt


def test_label_and_path_stay_out_of_reach(tmp_path):
    with pytest.raises(ValueError, match="cannot be rendered"):
        load_pack(write(tmp_path, user="{{ sticker.label_name }}"))


@pytest.mark.parametrize(
    "user",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ views.__init__.__globals__ }}",
        "{{ nobody }}",
        "{{ 1 / 0 }}",
        "{{ 'a' + 1 }}",
        "{% for i in range(10 ** 9) %}x{% endfor %}",
        "{{ view.name }}",
        "{% include 'a' %}",
    ],
)
def test_template_that_cannot_be_rendered_is_refused_at_once(tmp_path, user):
    with pytest.raises(ValueError, match="the prompt pack mine cannot be rendered"):
        load_pack(write(tmp_path, user=user))


def test_error_in_the_branch_for_text_is_found_at_once(tmp_path):
    with pytest.raises(ValueError, match="cannot be rendered"):
        load_pack(write(tmp_path, user="a{% if sticker.text %}{{ nobody }}{% endif %}"))


def test_error_for_one_view_is_found_at_once(tmp_path):
    user = "a{% if view.name == 'details' %}{{ nobody }}{% endif %}"
    with pytest.raises(ValueError, match="cannot be rendered"):
        load_pack(write(tmp_path, mode="per-view", user=user))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"user": "{% if %}"}, "user"),
        ({"user": ""}, "user"),
        ({"views": {"content": "x"}}, "views"),
        ({"views": {**FIELDS["views"], "mood": "x"}}, "views"),
        ({"views": {**FIELDS["views"], "style": 3}}, r"views\.style"),
        ({"mode": "chatty"}, "mode"),
        ({"sampling": {"max_tokens": 0}}, r"sampling\.max_tokens"),
        ({"sampling": {"temperatur": 0}}, r"sampling\.temperatur"),
        ({"prompt": "x"}, "prompt"),
    ],
)
def test_malformed_field_is_named(tmp_path, changes, field):
    with pytest.raises(ValueError, match=rf"mine\.yaml is malformed at '{field}'"):
        load_pack(write(tmp_path, **changes))


@pytest.mark.parametrize("content", [b"a: [b", b"\xff\xfe\xff", b"!!python/object/apply:os.getcwd []"])
def test_file_that_is_no_yaml(tmp_path, content):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"mine\.yaml is no valid YAML"):
        load_pack(path)


@pytest.mark.parametrize("content", ["", "- a\n", "text\n"])
def test_yaml_that_is_no_mapping(tmp_path, content):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match="malformed at 'the file'"):
        load_pack(path)


def test_unknown_pack_names_the_shipped_ones():
    with pytest.raises(FileNotFoundError, match=r"no prompt pack 'nope'.*multiview"):
        load_pack("nope")


def test_views_come_in_canonical_order(tmp_path):
    pack = load_pack(write(tmp_path, views=dict(reversed(FIELDS["views"].items()))))
    assert tuple(pack.views) == VIEWS


@pytest.mark.parametrize(
    "changes", [{"user": "Other."}, {"system": "x"}, {"sampling": {"seed": 1}}, {"language": "zh"}]
)
def test_digest_covers_the_whole_pack(tmp_path, changes):
    before = load_pack(write(tmp_path)).digest()
    assert load_pack(write(tmp_path, **changes)).digest() != before


def test_digest_does_not_depend_on_the_order_of_keys(tmp_path):
    before = load_pack(write(tmp_path)).digest()
    assert load_pack(write(tmp_path, views=dict(reversed(FIELDS["views"].items())))).digest() == before
