"""The estimate of --dry-run: what it says comes true, and nothing is written."""

import pytest
from describe_bench import KnownEngine, config, make_corpus, run

from mghft.pipeline.describe.config import build_describe_config
from mghft.pipeline.engines.options import ServerOptions
from mghft.pipeline.runs.shards import shard_paths

PRICES = ServerOptions(price_input=2.0, price_output=10.0)


@pytest.fixture
def card(tmp_path):
    return make_corpus(tmp_path / "data", 120)


def test_tokens_money_and_disk_come_out_as_estimated(card, tmp_path):
    said = run(config(card, tmp_path / "out", dry_run=True, server=PRICES))
    assert not (tmp_path / "out").exists()
    done = run(config(card, tmp_path / "out", server=PRICES, shard_rows=512))
    assert said["left"] == done["rows"] == 120
    assert said["prompt_tokens"] == done["prompt_tokens"] == 120 * 7
    assert said["output_tokens"] == done["output_tokens"] == 120 * 9
    assert said["cost"] == done["cost"] == pytest.approx(120 * (7 * 2.0 + 9 * 10.0) / 1e6)
    size = sum(path.stat().st_size for path in shard_paths(tmp_path / "out"))
    assert size * 0.5 < said["disk_bytes"] < size * 2


def test_only_what_is_left_is_estimated_and_the_run_stays_as_it_is(card, tmp_path):
    run(config(card, tmp_path / "out", limit=30))
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    engine = KnownEngine()
    said = run(config(card, tmp_path / "out", dry_run=True), engine)
    assert (said["selected"], said["left"]) == (120, 90)
    assert said["tried"] == engine.requests == 72
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_nothing_left_starts_no_engine(card, tmp_path):
    run(config(card, tmp_path / "out"))
    engine = KnownEngine()
    assert run(config(card, tmp_path / "out", dry_run=True), engine) == {"selected": 120, "left": 0}
    assert engine.requests == 0


def test_time_follows_the_engine(card, tmp_path):
    said = run(config(card, tmp_path / "out", dry_run=True), KnownEngine(delay=0.01))
    assert said["seconds_at_most"] >= 120 * 0.01


def test_another_configuration_is_refused_before_anything_is_spent(card, tmp_path):
    run(config(card, tmp_path / "out", limit=30))
    engine = KnownEngine()
    with pytest.raises(ValueError, match="run of another configuration"):
        run(config(card, tmp_path / "out", dry_run=True, prompt="per-view"), engine)
    assert engine.requests == 0


def test_a_single_sticker_can_be_estimated(card, tmp_path):
    assert run(config(card, tmp_path / "out", dry_run=True, limit=1))["tried"] == 1


def test_without_prices_no_money_is_named(card, tmp_path):
    assert "cost" not in run(config(card, tmp_path / "out", dry_run=True))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"engine": "openai", "model": "m"}, "needs the address of its server: give --base-url"),
        ({"engine": "openai", "server.base_url": "http://localhost/v1"}, "needs the model's name"),
    ],
)
def test_a_server_needs_an_address_and_a_model(fields, reason):
    with pytest.raises(ValueError, match=reason):
        build_describe_config(None, {"card": "emoji", "data": "data", "out": "out", **fields})
