"""The verdict on CSM: the fastest mode against transformers and the goals. Pure, and total: any part may be missing."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

GOALS = {"turn_first_audio_p95_ms": 25.0, "frame_p95_ms": 6.0, "times_faster_than_transformers": 5.0}
"""First audio is that of a turn: its context has grown since the last text. A context that was kept whole is the best
case, and for information only."""
EAGER = "eager"
CODEC_LEAST_DB = 80.0
"""A mode whose samples are further than this from the eager ones computes something else: TF32 leaves about 60 dB."""


def judge(result: Mapping[str, Any], modes: Sequence[str]) -> dict[str, Any] | None:
    """Return the verdict on the modes in `result` that have frame times; None if none has.

    A figure whose part is missing is None. `frames_of_8_as_eager` and `codec_db` are empty without the eager mode's.
    """
    measured = [mode for mode in modes if _of(result, mode, "frame_ms", "p50") is not None]
    if not measured:
        return None
    best = min(measured, key=lambda mode: float(_of(result, mode, "frame_ms", "p50")))
    reference_ms = _of(result, "transformers", "frame_ms")
    eager = _of(result, EAGER, "frame_checksums")
    checksums = {mode: _of(result, mode, "frame_checksums") for mode in modes}
    codecs = {mode: _of(result, mode, "codec_output") for mode in modes if mode != EAGER}
    return {
        "mode": best,
        "turn_first_audio_p95_ms": _of(result, best, "turn_first_audio_ms", "prepared", "p95"),
        "kept_context_first_audio_p95_ms": _of(result, best, "first_audio_ms", "150", "kept", "p95"),
        "frame_p95_ms": _of(result, best, "frame_ms", "p95"),
        "times_faster_than_transformers": None
        if reference_ms is None
        else reference_ms / _of(result, best, "frame_ms", "p50"),
        "frames_of_8_as_eager": {
            mode: sum(map(operator.eq, sums, eager)) for mode, sums in checksums.items() if sums and eager
        },
        "codec_db": {mode: output["signal_to_error_db"] for mode, output in codecs.items() if output},
        "codec_differs": [
            mode for mode, output in codecs.items() if output and not is_same_sound(output["signal_to_error_db"])
        ],
    }


def is_same_sound(signal_to_error_db: float | None) -> bool:
    """Whether samples are close enough to the eager ones; None means that they are equal."""
    return signal_to_error_db is None or signal_to_error_db >= CODEC_LEAST_DB


def _of(result: Mapping[str, Any], *keys: str) -> Any:
    """Return the entry below `keys`; None where a part of the way is missing."""
    entry: Any = result
    for key in keys:
        if not isinstance(entry, Mapping) or key not in entry:
            return None
        entry = entry[key]
    return entry
