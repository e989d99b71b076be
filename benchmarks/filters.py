"""Measures what designing the agent's filters once, in place of anew for each utterance and clause, saves.

    python -m benchmarks.filters [--repeats 200] [--json]       some seconds

Processor time of one thread, of 3 s of speech to 16 kHz (`resample`) and of trimming a clause of 2.8 s (`trim`), both
ways in alternation. The samples have to be the same to the last bit.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import signal
from turngap_agent import resample
from turngap_agent.telephony import SAMPLE_RATE
from turngap_agent.tts import trim

from benchmarks.promises import Promise, make_parser, print_result, run_main

AudioF32 = npt.NDArray[np.float32]
SYNTHESISER_HZ = 24_000


def make_noise(seconds: float, rate: int) -> AudioF32:
    """Return noise at -20 dBFS, always the same."""
    return np.random.default_rng(1).normal(0, 0.1, round(seconds * rate)).astype(np.float32)


def resample_anew(audio: AudioF32) -> AudioF32:
    """Do what `to_16k` does, with a filter that is designed for the call."""
    return np.asarray(signal.resample_poly(audio, 2, 1), np.float32)


def trim_clause(audio: AudioF32) -> AudioF32:
    """Trim one clause, as the embedded synthesiser does."""
    trimmer = trim.SilenceTrimmer(SYNTHESISER_HZ)
    return np.concatenate([trimmer.push(audio), trimmer.flush()])


def trim_anew(audio: AudioF32) -> AudioF32:
    """Trim one clause with a filter that is designed for it."""
    trim._design_band.cache_clear()
    return trim_clause(audio)


def compare(name: str, before: Callable[[], AudioF32], after: Callable[[], AudioF32], repeats: int) -> list[Promise]:
    """Return both medians of the processor time, and whether the samples are the same."""
    before(), after()
    took_ms = [(_time_ms(before), _time_ms(after)) for _ in range(repeats)]
    first, second = np.median(np.asarray(took_ms), axis=0)
    same = bool(np.array_equal(before(), after()))
    return [
        Promise(f"{name}, designed anew", f"{first:.2f} ms", float(first), None),
        Promise(f"{name}, designed once", f"{second:.2f} ms", float(second), holds=bool(second < first)),
        Promise(f"{name}: the samples are the same", "yes" if same else "no", None, holds=same),
    ]


def _time_ms(work: Callable[[], AudioF32]) -> float:
    started_ns = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - started_ns) / 1e6


def main() -> int:
    """Measure both filters; return 0 if every promise holds."""
    parser = make_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    options = parser.parse_args()
    utterance, clause = make_noise(3.0, SAMPLE_RATE), make_noise(2.8, SYNTHESISER_HZ)
    promises = [
        *compare("resample", lambda: resample_anew(utterance), lambda: resample.to_16k(utterance), options.repeats),
        *compare("trim", lambda: trim_anew(clause), lambda: trim_clause(clause), options.repeats),
    ]
    return print_result("filters", promises, {"repeats": options.repeats}, as_json=options.json)


if __name__ == "__main__":
    sys.exit(run_main(main))
