"""Replay which photos to have labelled: those that `flywheel.monitoring.select` chooses, against as many by lot.

    python label.py [--rounds N] [--seeds N] [--write FILE]

Starts from 30 labelled photos and buys 20 labels a round, a fifth of them by lot; after each round a small network is
trained on what is labelled, and held against 500 photos that nobody may buy. Twice: with all digits as frequent, and
where 8 and 9 are a tenth as frequent as others, as what a moderator looks for is.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from flywheel.monitoring.select import disagreement, dynamics, entropy, k_center, margin, select

START, A_ROUND, HELD_OUT, EPOCHS = 30, 20, 500, 40
WORLDS = {"all digits alike": 1.0, "8 and 9 are rare": 0.1}
WAYS = ("random", "margin", "entropy", "disagreement", "dynamics", "k-center", "margin, diverse", "dynamics, diverse")


def replay(seed: int, rounds: int, choose: str, rare: float = 1.0) -> list[float]:
    """Return the mean recall of the digits on the photos that were held out, after each round.

    Args:
        seed: Of the photos' order, and of all that is drawn.
        rounds: How often labels are bought.
        choose: One of WAYS.
        rare: Share of the eights and nines that can be bought; the photos held out are as they are.
    """
    digits = load_digits()
    chance = np.random.default_rng(seed)
    order = chance.permutation(len(digits.target))
    photos, truth = digits.data[order] / 16, digits.target[order]
    test, pool = slice(0, HELD_OUT), np.arange(HELD_OUT, len(truth))
    pool = pool[(truth[pool] < 8) | (chance.random(len(pool)) < rare)]
    known, found, before = pool[:START], [], None
    for number in range(rounds + 1):
        rest = np.setdiff1d(pool, known)
        guesses, history = trained(photos[known], truth[known], photos[test], photos[rest], seed)
        found.append(np.mean([(guesses[truth[test] == digit] == digit).mean() for digit in range(10)]))
        said = history[-1]
        former = said if before is None else before[rest]
        ways = {"margin": margin(said), "entropy": entropy(said), "dynamics": dynamics(history)}
        ways |= {"disagreement": disagreement(said, former), "k-center": np.zeros(len(rest))}
        before = np.zeros((len(truth), 10))
        before[rest] = said
        if choose == "random":
            bought = np.random.default_rng([seed, number]).choice(rest, A_ROUND, replace=False)
        elif choose == "k-center":  # of all that may be bought, whatever the model says
            bought = rest[k_center(photos[rest], A_ROUND, photos[known])]
        else:
            by, _, apart = choose.partition(", ")
            far = {"points": photos[rest], "near": photos[known]} if apart else {}
            bought = rest[select(ways[by], A_ROUND, seed=number, **far).rows]
        known = np.concatenate([known, bought])
    return found


def trained(photos, labels, test, rest, seed):
    """Train; return the guesses for `test`, and what the network says of `rest` after each epoch."""
    network = MLPClassifier((48,), learning_rate_init=0.01, batch_size=16, random_state=seed)
    history = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for _ in range(EPOCHS):
            network.partial_fit(photos, labels, classes=np.arange(10))
            history.append(network.predict_proba(rest))
    return network.predict(test), np.array(history)


def compared(rounds: int, seeds: int, rare: float) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the curve of each way, shape (seeds, rounds + 1), and lines that say how it does against the lot."""
    curves = {way: np.array([replay(seed, rounds, way, rare) for seed in range(seeds)]) for way in WAYS}
    lines = []
    for way in WAYS[1:]:
        gain = (curves[way] - curves["random"])[:, 1:].mean(axis=1)
        error = gain.std(ddof=1) / np.sqrt(len(gain))
        better = "better" if gain.mean() > 2 * error else "worse" if gain.mean() < -2 * error else "no different"
        lines.append(f"| {way} | {gain.mean():+.4f} | {error:.4f} | {better} |")
    return curves, lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="rounds of 20 labels (%(default)s)")
    parser.add_argument("--seeds", type=int, default=10, help="replays, photos in another order (%(default)s)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="Markdown file to write the tables to")
    given = parser.parse_args()
    said = []
    for world, rare in WORLDS.items():
        curves, lines = compared(given.rounds, given.seeds, rare)
        said += [f"### {world[0].upper()}{world[1:]}", "", "| labels | " + " | ".join(WAYS) + " |"]
        said += ["|---:|" + "---:|" * len(WAYS)]
        for number in sorted({0, 1, 2, 4, 7, given.rounds} & set(range(given.rounds + 1))):
            row = " | ".join(f"{curve[:, number].mean():.3f}" for curve in curves.values())
            said.append(f"| {START + number * A_ROUND} | {row} |")
        said += [
            "",
            "| against as many by lot | mean recall, all rounds | standard error | so |",
            "|---|---:|---:|---|",
        ]
        said += [*lines, ""]
    text = "\n".join(said)
    print(text)
    if given.write:
        given.write.write_text(text)


if __name__ == "__main__":
    main()
