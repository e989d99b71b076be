"""Simulates how often the bound on p95 holds, and how often the gate passes by chance, for every n from 59 to 400.

    python -m benchmarks.coverage [--samples 20000] [--json]

Gaps are log-normal (log-sd 0.15), with a true p95 of exactly 500 ms. Coverage is the share of samples whose bound is at
or above the true p95; in theory binom.cdf(k - 1, n, q). False passes are samples that the gate would pass.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping

import numpy as np
from scipy.stats import binom, norm
from turngap.verdict import stats

BUDGET_MS = 500.0
LOG_SD = 0.15
LARGEST_SE = 4.5


def simulate(n: int, samples: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Return coverage, coverage in theory, share of false passes, and the coverage's standard error, at n turns."""
    ranks = stats.quantile_upper([float(rank) for rank in range(1, n + 1)])
    allowed = stats.misses_allowed(n)
    assert ranks is not None
    assert allowed is not None
    k = round(ranks)
    centre = np.log(BUDGET_MS) - norm.ppf(stats.Q) * LOG_SD
    gaps = np.exp(rng.normal(centre, LOG_SD, size=(samples, n)))
    bounds = np.partition(gaps, k - 1, axis=1)[:, k - 1]
    covered = float(np.mean(bounds >= BUDGET_MS))
    passed = float(np.mean((gaps > BUDGET_MS).sum(axis=1) <= allowed))
    theory = float(binom.cdf(k - 1, n, stats.Q))
    return covered, theory, passed, float(np.sqrt(theory * (1 - theory) / samples))


def holds(report: Mapping[str, float]) -> bool:
    """Return whether coverage and false passes are as promised, and the simulation agrees with the theory.

    Over 342 sizes the largest deviation of a correct simulation is under 4.5 standard errors (p > 0.997).
    """
    allowed = LARGEST_SE * math.sqrt(0.05 * 0.95 / report["samples"])
    return (
        report["theory_min"] >= 0.95
        and report["coverage_min"] >= 0.95 - allowed
        and report["false_pass_max"] <= 0.05 + allowed
        and report["largest_deviation_se"] < LARGEST_SE
    )


def main() -> int:
    """Print the table; return 1 if simulation and theory disagree, or a promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    rows = {n: simulate(n, options.samples, rng) for n in range(59, 401)}
    z = {n: (row[0] - row[1]) / row[3] for n, row in rows.items()}
    report = {
        "samples": options.samples,
        "coverage_min": min(row[0] for row in rows.values()),
        "theory_min": min(row[1] for row in rows.values()),
        "theory_max": max(row[1] for row in rows.values()),
        "false_pass_max": max(row[2] for row in rows.values()),
        "false_pass_mean": float(np.mean([row[2] for row in rows.values()])),
        "largest_deviation_se": max(abs(value) for value in z.values()),
        "chi2_per_n": float(np.mean([value**2 for value in z.values()])),
    }
    good = holds(report)
    report["holds"] = good
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print(f"n from 59 to 400, {options.samples} samples each, true p95 = budget = {BUDGET_MS:g} ms")
        for n in (59, 93, 124, 153, 181, 200, 234, 299, 400):
            covered, theory, passed, error = rows[n]
            print(f"  n={n:3d}  coverage {covered:.4f} (theory {theory:.4f} ± {error:.4f})  false passes {passed:.4f}")
        for key, value in report.items():
            print(f"{key}: {value:.4f}" if isinstance(value, float) else f"{key}: {value}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
