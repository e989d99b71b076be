"""Fits the logistic model of a pause and the lengths of pauses to labelled pauses; pure.

Ends and pauses weigh the same in all, whatever their numbers: how many pauses a turn has differs from corpus to corpus,
and the wait is set by a rate of cut-offs among pauses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats
from turngap_agent.endpointing.words_and_melody.features import Coefficients, Features
from turngap_agent.profile.pace import PauseLengths

WORDS = ("sentence",)
BOTH = ("sentence", "melody")
RIDGE = 1.0
"""The prior on each weight but the constant: normal, variance 1 / RIDGE."""
LEAST_MS = 200
"""Shorter pauses end before anything is asked."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LabelledPause:
    """A pause with its features; `length_ms` None where the turn was over."""

    speaker: str
    length_ms: float | None
    features: Features


def fit_weights(pauses: Sequence[LabelledPause], columns: Sequence[str], base: Coefficients) -> Coefficients:
    """Return the weights of `columns` and the constant that fit best beside the others, which are those of `base`.

    Raises:
        ValueError: there are no ends, or no pauses.
    """
    over = np.array([pause.length_ms is None for pause in pauses], np.float64)
    if not 0 < over.sum() < len(over):
        raise ValueError("a fit needs ends and pauses")
    values = np.array([[1.0, *(getattr(pause.features, name) for name in columns)] for pause in pauses])
    others = base.model_copy(update=dict.fromkeys(("constant", *columns), 0.0))
    given = np.array([special.logit(others.probability(pause.features)) for pause in pauses])
    weights = np.where(over == 1, 0.5 / over.sum(), 0.5 / (len(over) - over.sum())) * len(over)

    def loss(betas: Floats) -> float:
        odds = values @ betas + given
        fit = weights * (np.logaddexp(0, odds) - over * odds)
        return float(fit.sum() + RIDGE / 2 * np.square(betas[1:]).sum())

    betas = optimize.minimize(loss, np.zeros(values.shape[1])).x
    fitted = {name: round(float(beta), 3) for name, beta in zip(("constant", *columns), betas, strict=True)}
    return base.model_copy(update=fitted)


def area_by_speaker(pauses: Sequence[LabelledPause], columns: Sequence[str], base: Coefficients) -> float:
    """Return the area under the curve of models that have not seen the speaker they judge; nan for one speaker."""
    scores: list[tuple[float, bool]] = []
    for speaker in sorted({pause.speaker for pause in pauses}):
        rest = [pause for pause in pauses if pause.speaker != speaker]
        if not 0 < sum(pause.length_ms is None for pause in rest) < len(rest):
            continue
        model = fit_weights(rest, columns, base)
        own = [pause for pause in pauses if pause.speaker == speaker]
        scores += [(model.probability(pause.features), pause.length_ms is None) for pause in own]
    ends = [score for score, over in scores if over]
    holds = [score for score, over in scores if not over]
    if not ends or not holds:
        return math.nan
    return float(stats.mannwhitneyu(ends, holds).statistic / (len(ends) * len(holds)))


def fit_lengths(pauses: Sequence[tuple[str, float]]) -> PauseLengths:
    """Return the log-normal of the pauses of `LEAST_MS` and more, each with its speaker; speakers count alike.

    The weight of the median is the ratio of the variance within speakers to that between them (a one-way layout, by
    moments), at most 10, which it is where no variance between speakers is to be seen.

    Raises:
        ValueError: there are fewer than two such pauses.
    """
    by_speaker: dict[str, list[float]] = {}
    for speaker, ms in pauses:
        if ms >= LEAST_MS:
            by_speaker.setdefault(speaker, []).append(math.log(ms))
    if sum(map(len, by_speaker.values())) < 2:
        raise ValueError(f"the lengths of pauses need two of {LEAST_MS} ms and more")
    logs = np.concatenate(list(by_speaker.values()))
    shares = np.concatenate([np.full(len(own), 1 / len(own) / len(by_speaker)) for own in by_speaker.values()])
    median = float(logs @ shares)
    spread = math.sqrt(float(np.square(logs - median) @ shares))
    several = [own for own in by_speaker.values() if len(own) > 1]
    weight = 10.0
    if len(several) > 1:
        within = sum(float(np.var(own)) * len(own) for own in several) / sum(len(own) - 1 for own in several)
        size = sum(len(own) for own in several) / len(several)
        between = float(np.var([np.mean(own) for own in several], ddof=1)) - within / size
        weight = min(10.0, within / between) if between > 0 else 10.0
    return PauseLengths(
        median_ms=round(math.exp(median), 1),
        spread=round(max(0.05, spread), 3),
        weight=round(weight, 2),
    )
