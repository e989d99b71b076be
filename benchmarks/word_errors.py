"""Simulates the bound on the word error rate: how often it is under the true rate, and what it can show.

    python -m benchmarks.word_errors [--samples 10000] [--json]

Utterances have the word counts of the scenario `gate`. Each kind of error is simulated at a true rate, in which a
transcript counts at most as many errors as its reference has words (`turngap.verdict.word_errors`). Under is the share
of samples whose bound is at or below that rate: at most 5 % are promised. Passes is the share within a limit of 5 %.

Loops are transcripts that repeat themselves. Counted in full, 1 % of loops of 20 words are a rate of 4-5 %; a sample of
n turns has none with probability 0.99 ** n, and then no bound can know of them. So a limit that a faultless sample
passes has at least so many false passes on that rate (`seen_none`), whatever the bound.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from turngap.scenario import load_scenario_file
from turngap.verdict.word_errors import is_wer_within, wer_upper

GATE = Path(__file__).parent.parent / "scenarios" / "gate.scenario.yaml"
LIMIT, CONFIDENCE = 0.05, 0.95
BOUNDS = 500
"""The median bound is that of so many samples."""
Ints = npt.NDArray[np.int64]
Draw = Callable[[np.random.Generator], Ints]


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of error."""

    kind: str
    true: float
    under: float
    passes: float
    median_upper: float
    full: float
    """The true rate with every error counted."""
    seen_none: float
    """The share of samples without any error."""


def list_kinds(words: Ints) -> dict[str, Draw]:
    """Return what draws the errors of one run, shape as `words`, by the name of the kind."""
    n, total = len(words), int(words.sum())
    long_share = LIMIT * total / words[words >= 8].sum()

    def whole(rng: np.random.Generator, share: float | npt.NDArray[np.float64]) -> Ints:
        return np.where(rng.random(n) < share, words, 0)

    def scattered(rng: np.random.Generator, rate: float, concentration: float) -> Ints:
        """Word errors at a rate of its own in each utterance (beta), which makes them cluster."""
        rates = rng.beta(rate * concentration, (1 - rate) * concentration, n)
        return np.asarray(rng.binomial(words, rates), np.int64)

    return {
        "whole utterances, 5 %": lambda rng: whole(rng, LIMIT),
        "loops of 20 words, 1 %": lambda rng: (rng.random(n) < 0.01) * 20,
        "loops of 45 words, 0.5 %": lambda rng: (rng.random(n) < 0.005) * 45,
        "whole utterances of 8 words and more": lambda rng: whole(rng, np.where(words >= 8, long_share, 0)),
        "loops of 20 words, 5 %": lambda rng: (rng.random(n) < 0.05) * 20,
        "scattered words, 5 %": lambda rng: scattered(rng, 0.05, 50),
        "clustered words, 5 %": lambda rng: scattered(rng, 0.05, 2),
        "scattered words, 2.7 %": lambda rng: scattered(rng, 0.027, 50),
        "clustered words, 2.7 %": lambda rng: scattered(rng, 0.027, 2),
        "scattered words, 2 %": lambda rng: scattered(rng, 0.02, 50),
        "clustered words, 2 %": lambda rng: scattered(rng, 0.02, 2),
        "clustered words, 1 %": lambda rng: scattered(rng, 0.01, 2),
    }


def simulate(kind: str, draw: Draw, words: Ints, samples: int, seed: int) -> Row:
    """Return how the bound does on one kind; the true rates are means over other runs, at least 2,000."""
    rng = np.random.default_rng(seed)
    many = np.array([draw(rng) for _ in range(max(2_000, samples))])
    true, full = np.minimum(many, words).sum() / (len(many) * words.sum()), many.sum() / (len(many) * words.sum())
    drawn = [draw(rng) for _ in range(samples)]
    listed = words.tolist()
    uppers = [wer_upper(errors.tolist(), listed, CONFIDENCE) for errors in drawn[:BOUNDS]]
    return Row(
        kind,
        float(true),
        float(np.mean([is_wer_within(errors.tolist(), listed, true, CONFIDENCE) for errors in drawn])),
        float(np.mean([is_wer_within(errors.tolist(), listed, LIMIT, CONFIDENCE) for errors in drawn])),
        float(np.median(uppers)),
        float(full),
        float(np.mean([not errors.any() for errors in drawn])),
    )


def read_words() -> Ints:
    """Return the word counts of the gate's utterances."""
    return np.array([len((turn.expect or "").split()) for turn in load_scenario_file(GATE).turns], np.int64)


def holds(rows: list[Row], samples: int) -> bool:
    """Return whether no kind is under its true rate in more than 5 % of the samples, but for 3.5 standard errors."""
    allowed = 1 - CONFIDENCE + 3.5 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / samples)
    return all(row.under <= allowed for row in rows)


def main() -> int:
    """Print a row for each kind; exit with 1 if the bound does not cover."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    words = read_words()
    if not arguments.json:
        print(f"{len(words)} utterances, {words.sum()} words, {arguments.samples:,} samples; limit {LIMIT:.0%}")
        print(f"{'kind':38}  true   under  passes  median bound  counted in full  no error seen")
    rows = []
    for seed, (kind, draw) in enumerate(list_kinds(words).items()):
        row = simulate(kind, draw, words, arguments.samples, seed)
        rows.append(row)
        if not arguments.json:
            shown = f"{row.under:6.2%}  {row.passes:6.1%}  {row.median_upper:12.2%}  {row.full:15.2%}"
            print(f"{kind:38} {row.true:5.2%}  {shown}  {row.seen_none:13.1%}", flush=True)
    if arguments.json:
        print(json.dumps({"turns": len(words), "words": int(words.sum()), "rows": [asdict(row) for row in rows]}))
    return 0 if holds(rows, arguments.samples) else 1


if __name__ == "__main__":
    sys.exit(main())
