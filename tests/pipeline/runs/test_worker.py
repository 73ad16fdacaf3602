"""A worker's share: written i/n, a hash of the id decides, and no two workers own a sticker."""

import pytest

from mghft.pipeline.runs.worker import Worker, file_prefix


def test_a_worker_is_written_as_i_of_n():
    assert Worker.parse("2/3") == Worker(2, 3)
    assert (str(Worker(2, 3)), file_prefix(Worker(2, 3)), file_prefix(None)) == ("2of3", "2of3-", "")


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "a/b", "-1/2", "1/2/3", "1 / 2", "1.0/2"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(ValueError, match="must be i/n with i from 1 to n, for example 1/4, not"):
        Worker.parse(text)


def test_every_sticker_has_one_owner():
    names = [f"images/{number:04d}.png" for number in range(300)] + ["ä ☺.png", "\udcff.png", ""]
    owners = [[worker.index for worker in (Worker(i, 3) for i in (1, 2, 3)) if worker.owns(n)] for n in names]
    assert {len(found) for found in owners} == {1}
    assert {found[0] for found in owners} == {1, 2, 3}


def test_shares_are_those_of_runs_already_written():
    """The numbers are those that `_belongs` of the code before the rooms printed."""
    share = [n for n in range(20) if Worker(2, 3).owns(f"images/{n:04d}.png")]
    assert share == [0, 1, 8, 9, 11, 14, 16]
