"""How a sentence continued after an interruption: how much of it was lost or repeated, by what was heard. Pure.

What the agent had sent and the caller never heard, because a `clear` cut it, is known to the sample, and so is what was
heard. Where the sentence continues, the first 200 ms of its sound are searched in both by normalised cross-correlation:
if found before the point where playing stopped, the part between was repeated; if after it, lost; if not found, all
that was cut is lost, unless its own start is found in what follows. What was never sent cannot be detected here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import signal

from turngap.caller.onset import AUDIBLE_DBFS, LEVEL_FRAME_SAMPLES, levels_dbfs
from turngap.model.records import Pcm16

TEMPLATE_SAMPLES = 1600
"""200 ms: longer than a syllable, so that it is found in one place only."""
SHORTEST_SAMPLES = 400
"""50 ms: the least overlap with the end of the known audio that counts as found."""
ALIKE = 0.9
"""With this correlation or more two pieces are the same sound, even after a fade or another resampling."""
TIE = 0.02
"""Places that are worse than the best by this much are equivalent: the one nearest to where playing stopped is used."""
SEARCHED_SAMPLES = 160_000
"""20 s: no agent repeats more than this."""

_FULL_SCALE = 32_768.0


@dataclass(frozen=True, slots=True)
class LostAndRepeated:
    """What an interruption cost a sentence, in samples at 8 kHz."""

    lost_samples: int
    """Audible samples that were cut and not played later."""
    repeated_samples: int
    """Audible samples that were played twice."""


def find_lost_and_repeated(
    heard: Pcm16, cut: Pcm16, resumed: Pcm16, audible_dbfs: float = AUDIBLE_DBFS
) -> LostAndRepeated:
    """Compare the sentence before and after an interruption.

    Args:
        heard: What was played of it, shape (n,).
        cut: What had been received and was not played, because it was cut, shape (m,); it follows `heard`.
        resumed: What was played from where it continued, shape (k,).
        audible_dbfs: Sound over this level counts.
    """
    known = np.concatenate([heard[-SEARCHED_SAMPLES:], cut])
    stopped_at = len(known) - len(cut)
    place = find_piece(known, resumed, near=stopped_at, audible_dbfs=audible_dbfs)
    if place is None:
        back = find_piece(resumed[:SEARCHED_SAMPLES], cut, near=0, audible_dbfs=audible_dbfs)
        return LostAndRepeated(0 if back is not None else count_audible_samples(cut, audible_dbfs), 0)
    if place < stopped_at:
        return LostAndRepeated(0, count_audible_samples(known[place:stopped_at], audible_dbfs))
    return LostAndRepeated(count_audible_samples(known[stopped_at:place], audible_dbfs), 0)


def find_piece(known: Pcm16, piece: Pcm16, *, near: int, audible_dbfs: float = AUDIBLE_DBFS) -> int | None:
    """Return the index in `known` of the first audible frame of `piece`; None if it is not there.

    Its first 200 ms from the first audible frame on are compared; at the end of `known` less of them, at least 50 ms.
    """
    audible = np.flatnonzero(levels_dbfs(piece) > audible_dbfs)
    if not len(audible):
        return None
    lead = int(audible[0]) * LEVEL_FRAME_SAMPLES
    template = piece[lead : lead + TEMPLATE_SAMPLES].astype(np.float64) / _FULL_SCALE
    if min(len(template), len(known)) < SHORTEST_SAMPLES:
        return None
    likeness = _likeness(known.astype(np.float64) / _FULL_SCALE, template)
    best = float(likeness.max(initial=0.0))
    if best < ALIKE:
        return None
    places = np.flatnonzero(likeness >= max(ALIKE, best - TIE))
    return int(places[np.abs(places - near).argmin()])


def count_audible_samples(pcm: Pcm16, audible_dbfs: float = AUDIBLE_DBFS) -> int:
    """Return how many samples are in audible 10 ms frames, counted from the first sample."""
    audible = np.flatnonzero(levels_dbfs(pcm) > audible_dbfs)
    return int(np.minimum(LEVEL_FRAME_SAMPLES, len(pcm) - audible * LEVEL_FRAME_SAMPLES).sum())


def _likeness(known: npt.NDArray[np.float64], template: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the normalised correlation of `template` at each place of `known` (of the overlap at its end)."""
    places = len(known) - SHORTEST_SAMPLES + 1
    beyond = np.zeros(len(template))
    product = signal.correlate(np.concatenate([known, beyond]), template, mode="valid", method="fft")[:places]
    energies = np.concatenate([[0.0], np.cumsum(np.square(known))])
    own = np.concatenate([[0.0], np.cumsum(np.square(template))])
    first = np.arange(places)
    last = np.minimum(first + len(template), len(known))
    overlap = last - first
    energy = energies[last] - energies[first]
    enough = energy > overlap * 10 ** (AUDIBLE_DBFS / 10)
    likeness = np.zeros(places)
    likeness[enough] = product[enough] / np.sqrt(energy[enough] * own[overlap[enough]])
    return likeness
