"""First audio in the state that a turn of a call finds: with the last utterances prepared after their turn, or not.

A call's context grows by two utterances of another length each turn. The agent encodes and computes them right after
the turn (`Csm.prepare`); `late` is what a caller would wait if it were left to the next text.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from turngap_agent.tts import ContextUtterance
from turngap_agent.tts.csm.context import LINE_RATE
from turngap_agent.tts.csm.speech import Speech

from benchmarks.speech.results import summary

CONTEXT_UTTERANCES = 8
"""As many as the agent keeps of a call."""
MAX_FRAMES = 25
_TEXT = "Certainly, I can look that up."


def measure(speech: Speech, turns: int, wait: Callable[[], None]) -> dict[str, Any]:
    """Return first audio (`prepared`, `late`) and the time of the `preparation`, over `turns` turns each.

    Call it inside `execution.activate()`; `wait` waits until the device is idle.
    """
    speech.warm_up_encoder()
    slot = speech.slots[0]
    times: dict[str, list[float]] = {"prepared": [], "late": [], "preparation": []}
    for seed, kind in enumerate(("prepared", "late")):
        generator = np.random.default_rng(seed)
        context: tuple[ContextUtterance, ...] = ()
        for turn in range(turns):
            context = (*context, *_utterances(generator, turn))[-CONTEXT_UTTERANCES:]
            if kind == "prepared":
                began = time.perf_counter()
                segments = speech.segments(context, MAX_FRAMES)
                while slot.prepare_segment(segments):
                    pass
                wait()
                times["preparation"].append(time.perf_counter() - began)
            began = time.perf_counter()
            slot.start(speech.plan(_TEXT, context, MAX_FRAMES), seed=turn)
            slot.next_frame()
            times[kind].append(time.perf_counter() - began)
            wait()
    return {kind: summary(seconds) for kind, seconds in times.items()} | {"turns": turns}


def _utterances(generator: np.random.Generator, turn: int) -> tuple[ContextUtterance, ContextUtterance]:
    """Return the caller's and the agent's utterance of a turn: noise of 1 to 4 s, no two of the same length."""
    audio = [
        np.asarray(generator.normal(0, 0.05, generator.integers(LINE_RATE, 4 * LINE_RATE)), np.float32) for _ in "ab"
    ]
    return (
        ContextUtterance("caller", f"I have a question about my bill, number {turn}.", audio[0]),
        ContextUtterance("agent", _TEXT, audio[1]),
    )
