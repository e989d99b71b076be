"""A small labelled corpus with a synthetic voice: turns with a pause inside, whose samples are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
from turngap.calibration.voice import make_voice

RATE = 8000
SPEECH_MS, PAUSE_MS, GAP_MS = 500, 300, 900
TURN_MS = 2 * SPEECH_MS + PAUSE_MS


def write_corpus(folder: Path, turns: int = 3, *, channel: int = 0, channels: int = 1, **shared: Any) -> Path:
    """Write one recording of `turns` turns on that channel, noise on the others, and its table; return the table."""
    folder.mkdir(parents=True, exist_ok=True)
    sound, rows = make_recording(turns)
    noise = np.random.default_rng(1).normal(0, 0.1, len(sound))
    tracks = np.stack([sound if each == channel else noise for each in range(channels)], axis=1)
    soundfile.write(folder / "talk.flac", tracks, RATE, subtype="PCM_16")
    for row in rows:
        row |= {"file": "talk.flac", "channel": channel, "licence": "CC0-1.0", "source": "a synthetic voice", **shared}
    path = folder / "corpus.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def make_recording(turns: int) -> tuple[npt.NDArray[np.float64], list[dict[str, Any]]]:
    """Return a recording, full scale ±1, and what the table says of its turns."""
    step = TURN_MS + GAP_MS
    sound = np.random.default_rng(0).normal(0, 1e-4, (GAP_MS + turns * step) * RATE // 1000)
    rows = []
    for index in range(turns):
        start = GAP_MS + index * step
        second = start + SPEECH_MS + PAUSE_MS
        for piece, begin in enumerate((start, second)):
            voice = make_voice(SPEECH_MS * RATE // 1000, 2 * index + piece, -20.0)
            sound[begin * RATE // 1000 :][: len(voice)] += voice / 32_768
        rows.append(
            {
                "id": f"turn-{index}",
                "start_ms": start,
                "end_ms": start + TURN_MS,
                "uncertainty_ms": 5,
                "words": [["scripted", start, start + SPEECH_MS], ["words", second, second + SPEECH_MS]],
                "speaker": "AB"[index % 2],
            }
        )
    return sound, rows
