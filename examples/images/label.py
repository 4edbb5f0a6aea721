"""Replay which photos to have labelled: those that `flywheel.monitoring.select` chooses, against as many by lot.

    python label.py [--rounds N] [--seeds N]

Starts from 30 labelled photos and buys 20 labels a round; after each round a model is fitted to what is labelled and
held against 500 photos that nobody may buy.
"""

import argparse

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from flywheel.monitoring.select import margin, select

START, A_ROUND, HELD_OUT = 30, 20, 500


def replay(seed: int, rounds: int, choose: str) -> list[float]:
    """Return the accuracy on the photos that were held out, after each round."""
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    photos, truth = digits.data[order] / 16, digits.target[order]
    test, pool = slice(0, HELD_OUT), np.arange(HELD_OUT, len(truth))
    known = pool[:START]
    found = []
    for number in range(rounds + 1):
        model = LogisticRegression(max_iter=1000).fit(photos[known], truth[known])
        found.append(float(model.score(photos[test], truth[test])))
        rest = np.setdiff1d(pool, known)
        if choose == "random":
            bought = np.random.default_rng([seed, number]).choice(rest, A_ROUND, replace=False)
        else:
            scores = margin(model.predict_proba(photos[rest]))
            diverse = {"points": photos[rest], "near": photos[known]} if choose == "diverse" else {}
            bought = rest[select(scores, A_ROUND, seed=number, **diverse).rows]
        known = np.concatenate([known, bought])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="rounds of 20 labels (%(default)s)")
    parser.add_argument("--seeds", type=int, default=10, help="replays, photos in another order (%(default)s)")
    given = parser.parse_args()
    curves = {
        name: np.array([replay(seed, given.rounds, name) for seed in range(given.seeds)])
        for name in ("random", "margin", "diverse")
    }
    print(f"{'labels':>8}" + "".join(f"{name:>10}" for name in curves))
    for number in range(given.rounds + 1):
        row = "".join(f"{curve[:, number].mean():10.3f}" for curve in curves.values())
        print(f"{START + number * A_ROUND:8}{row}")
    for name in ("margin", "diverse"):
        gain = (curves[name] - curves["random"]).mean(axis=1)
        error = gain.std(ddof=1) / np.sqrt(len(gain))
        print(f"{name}: {gain.mean():+.4f} accuracy over all rounds (standard error {error:.4f}, paired by order)")


if __name__ == "__main__":
    main()
