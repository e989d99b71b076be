"""A scenario that needs no voice: tones, which an agent with an energy detector takes for speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 8000
SCRIPTED = ("--profile", "scripted", "--set", "tts.ms_per_character=15")
"""The agent without models, with replies of half a second: a call ends once the reply was heard."""


def scenario_of_tones(folder: Path, turns: int, **keys: object) -> Path:
    """Write `turns` audio files and the scenario that says them, one call each; `keys` are further keys of it."""
    lines = ["name: tones", "warm_up_turns: 1", *(f"{key}: {value}" for key, value in keys.items()), "turns:"]
    for index in range(turns):
        seconds = np.arange(int(RATE * (0.6 + 0.1 * index))) / RATE
        tone = 0.2 * np.sin(2 * np.pi * (200 + 20 * index) * seconds)
        tone = np.concatenate([tone, np.zeros(RATE // 5)])  # a recording that ends with its sound has no known end
        soundfile.write(folder / f"tone{index}.wav", tone, RATE, subtype="PCM_16")
        lines.append(f"  - {{id: tone{index}, audio: tone{index}.wav, expect: scripted words, pause_ms: 100}}")
    file = folder / "tones.scenario.yaml"
    file.write_text("\n".join(lines) + "\n")
    return file
