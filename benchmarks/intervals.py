"""Why intervals are drawn here and not by scipy.stats.bootstrap: time for the same intervals, by turns.

scipy resamples stickers, not groups of alike ones, and calls a metric once per draw; here one set of draws,
as counts, serves all systems and metrics by matrix products. Stickers alone, so that both can do it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from scipy import stats
from sklearn.metrics import f1_score

sys.path.insert(0, str(Path(__file__).parents[1]))

from mghft.train.evaluation.bootstrap import accuracy_and_f1, draw_groups


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--stickers", type=int, default=6148, help="SER30K's test split")
    parser.add_argument("--systems", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    true = rng.integers(0, 7, options.stickers)
    right = rng.random((options.systems, options.stickers)) < 0.7
    predicted = np.where(right, true, rng.integers(0, 7, right.shape))
    ours, theirs = [], []
    for _ in range(options.turns):
        started = time.perf_counter()
        draws = draw_groups(np.arange(options.stickers), 0, options.rounds)
        found = [accuracy_and_f1(row[None], true, draws)[1].interval for row in predicted]
        ours.append(time.perf_counter() - started)
        started = time.perf_counter()
        interval = stats.bootstrap(
            (np.arange(options.stickers),),
            lambda rows: f1_score(true[rows], predicted[0][rows], average="macro"),
            n_resamples=options.rounds,
            method="percentile",
            vectorized=False,
            rng=rng,
        ).confidence_interval
        theirs.append(time.perf_counter() - started)
    low, high = found[0]
    print(f"{options.stickers} stickers, {options.rounds} draws, medians of {options.turns} turns")
    print(f"here: accuracy and macro F1 of {options.systems} systems in {statistics.median(ours):.2f} s")
    print(f"scipy: macro F1 of one system in {statistics.median(theirs):.2f} s")
    print(
        f"macro F1 of the first, here {low:.4f} to {high:.4f}, "
        f"scipy {interval.low:.4f} to {interval.high:.4f}"
    )


if __name__ == "__main__":
    main()
