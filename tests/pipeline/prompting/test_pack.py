"""Prompt packs: the shipped ones, strangers' ones, and text of a corpus that looks like a template."""

import re

import pytest
import yaml

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.prompting.lint import pack_notes
from mghft.pipeline.prompting.load import PACKS_FOLDER, load_pack, pack_names, read_pack
from mghft.pipeline.views import VIEWS

STICKER = Sticker(id="a", path="a.png", split="train", text="hello")
SHIPPED = ["multiview", "per-view", "figure", "multiview-zh", "with-text", "caption"]
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
    for view in pack.asked:
        prompt = pack.render(STICKER, None if pack.mode == "joint" else view)
        assert view in prompt and pack.views[view].instruction in prompt
    assert pack_notes(pack, load_card("emoji").labels + load_card("ser30k").labels) == []


@pytest.mark.parametrize("name", pack_names())
def test_shipped_packs_do_not_speak_of_text_where_there_is_none(name):
    pack = load_pack(name)
    bare = Sticker(id="a", path="a.png", split="train")
    assert "None" not in pack.render(bare, None if pack.mode == "joint" else "style")


# A plain caption is asked for without the sticker's text.
@pytest.mark.parametrize("name", sorted(set(pack_names()) - {"caption"}))
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
    with pytest.raises(
        ValueError, match=r"mine\.yaml is malformed at 'user' \(line 2\): it cannot be rendered"
    ):
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
        ({"views": {**FIELDS["views"], "style": ""}}, r"views\.style\.instruction"),
        ({"views": {**FIELDS["views"], "style": {"words": 3}}}, r"views\.style\.instruction"),
        ({"views": dict.fromkeys(VIEWS)}, "views"),
        ({"examples": [{"sticker": "a cat", "views": {"style": "x"}}]}, "examples"),
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
    with pytest.raises(ValueError, match=r"malformed at 'the file' \(line 1\)"):
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


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("multiview", "0fc2a54ed7260405ee2c4718e87ebf59845e7f1356c00e81fcf48432f33662fe"),
        ("per-view", "50affe2783a0a3f9094222e2d4e510362f27ef0b35857d757916b205c14154cd"),
    ],
)
def test_runs_made_with_the_first_packs_go_on(name, digest):
    """The digest stands in every run's manifest: a pack of the first version may never change its own."""
    assert load_pack(name).digest() == digest


def test_what_a_pack_is_for_decides_nothing(tmp_path):
    before = load_pack(write(tmp_path)).digest()
    assert load_pack(write(tmp_path, about="for cats")).digest() == before


LINES = """\
# A comment.
name: mine

user: |-
  Say it. {% for view in views %}
  - {{ view.name }}: {{ view.instruction }}
  {% endfor %}
views:
  content: who
  style: how
  intention: what for
  details: what else
sampling:
  max_tokens: 100
"""


@pytest.mark.parametrize(
    ("before", "after", "where"),
    [
        ("max_tokens: 100", "max_tokens: 0", "'sampling.max_tokens' (line 14)"),
        ("  style: how\n", "  style: 3\n", "'views.style' (line 10)"),
        ("  style: how\n", "", "'views' (line 8)"),
        ("name: mine\n", "", "'name' (line 1)"),
        ("max_tokens", "max_token", "'sampling.max_token' (line 14)"),
        ("view.instruction }}", "view.instruction }", "'user' (line 6)"),
        ("{% endfor %}", "{% endif %}", "'user' (line 7)"),
        ("view.instruction", "view.nobody", "'user' (line 6)"),
        ("  details: what else\n", "  details: what else\n  style: again\n", "'views.style' (line 13)"),
        ("style: how", "style: {instruction: how, words: 9}", "'views' (line 8)"),
        (
            "sampling:",
            "examples:\n- {sticker: a, views: {content: a, style: b, intention: c, details: d}}\nsampling:",
            "'examples' (line 13)",
        ),
    ],
)
def test_error_names_field_and_line_of_the_file(tmp_path, before, after, where):
    path = tmp_path / "mine.yaml"
    path.write_text(LINES.replace(before, after), encoding="utf-8")
    assert path.read_text() != LINES
    with pytest.raises(ValueError, match=re.escape(f"{path} is malformed at {where}: ")):
        load_pack(path)


def test_yaml_error_names_its_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nuser: [a\nviews: b\n")
    with pytest.raises(ValueError, match=r"mine\.yaml is no valid YAML: line 3: "):
        load_pack(path)


def test_every_problem_of_a_file_is_found(tmp_path):
    _, problems = read_pack(write(tmp_path, mode="chatty", sampling={"seed": "x"}, user=""))
    assert [problem.split("'")[1] for problem in problems] == ["mode", "user", "sampling.seed"]


@pytest.mark.parametrize(
    "content",
    [
        "a: &a\n  b: *a\n",
        "[" * 5000,
        "".join(
            f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}}}\n" if n else "a0: &a0 {x: 1}\n" for n in range(60)
        ),
        "name: 2026-99-99\n",
        "x: '" + "a" * 1_000_000 + "'",
    ],
    ids=["circle", "deep", "bomb", "date", "huge"],
)
def test_hostile_yaml_is_refused_in_a_sentence(tmp_path, content):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"mine\.yaml is (no valid YAML|malformed at)"):
        load_pack(path)


def test_length_reaches_the_prompt(tmp_path):
    views = {**FIELDS["views"], "style": {"instruction": "how", "words": 12}}
    user = "{% for v in views %}{{ v.name }}: {{ v.instruction }} ({{ v.words or 'any' }}); {% endfor %}"
    pack = load_pack(write(tmp_path, views=views, user=user))
    assert "style: how (12); intention: the intention (any);" in pack.render(STICKER)


def test_examples_reach_the_prompt(tmp_path):
    example = {"sticker": "a waving cat", "views": {view: f"its {view}" for view in VIEWS}}
    user = "{% for e in examples %}{{ e.sticker }} -> {{ e.answer }}{% endfor %}"
    prompt = load_pack(write(tmp_path, examples=[example], user=user)).render(STICKER)
    assert prompt.startswith('a waving cat -> {"content": "its content", ')


def test_view_that_is_null_is_not_asked_for():
    pack = load_pack("caption")
    assert pack.asked == ("content",)
    assert [view for view, _ in pack.messages(STICKER)] == [None]


def test_figure_asks_its_four_questions_in_the_order_of_the_paper():
    prompt = load_pack("figure").render(STICKER)
    keys = [line.split(":")[0] for line in prompt.splitlines() if line.startswith("- ")]
    assert keys == ["- intention", "- style", "- content", "- details"]


def test_with_text_asks_for_words_and_drawing_only_where_there_are_words():
    pack = load_pack("with-text")
    bare = pack.render(Sticker(id="a", path="a.png", split="train"))
    assert '"hello"' in pack.render(STICKER) and "lettered" in pack.render(STICKER)
    assert "words" not in bare and bare == load_pack("multiview").render(
        Sticker(id="a", path="a.png", split="train")
    )


SHORT = {view: {"instruction": "it", "words": 10} for view in VIEWS}
INSTRUCTIONS = "{{ views | map(attribute='instruction') | join }}"


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"user": "content, style, intention, details"}, "never says the instruction of the view style"),
        ({"user": INSTRUCTIONS, "views": dict.fromkeys(VIEWS, "it")}, "never names the key details"),
        ({"system": "Is it Anger or joy?"}, "names labels of the corpus: anger"),
        (
            {"sampling": {"max_tokens": 50}, "user": "{{ views }}", "views": SHORT},
            "may cut an answer of 40 words",
        ),
    ],
)
def test_notes_on_a_sound_pack(tmp_path, changes, note):
    notes = pack_notes(load_pack(write(tmp_path, **changes)), ["anger", "fear"])
    assert any(note in one for one in notes), notes


def test_the_pack_in_the_documentation_is_sound(tmp_path):
    text = (PACKS_FOLDER.parents[1] / "docs" / "prompts.md").read_text(encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1], encoding="utf-8")
    pack = load_pack(tmp_path / "mine.yaml")
    assert pack_notes(pack) == []
    assert "For a cat that covers its eyes a good answer is {" in pack.render(STICKER)
    assert [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")][:6] == SHIPPED


def test_every_pack_that_is_promised_is_shipped():
    assert pack_names() == sorted(SHIPPED)
