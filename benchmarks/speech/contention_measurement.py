"""Measures CSM's frame time for one placement of the language model: alone, beside prefill, beside decode."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from turngap_agent.device.execution import Mode

from benchmarks.speech import language_model_load
from benchmarks.speech.language_model_load import Kind, LanguageModelLoad
from benchmarks.speech.slot_measurement import SlotMeasurement


class ContentionMeasurement(SlotMeasurement):
    """The measurement of one placement of the language model."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options, f"contention-{options.place}")

    def run(self) -> dict[str, Any]:
        """Run all parts; return the result."""
        self.part("load", self.load)
        if not self.result["failed"]:
            self.part("frame_ms", self.frame_times_under_load)
        return self.result

    def frame_times_under_load(self) -> dict[str, Any]:
        """Return frame times alone, beside prefill and beside decode; the language model is loaded in all three."""
        self.speech.prepare(Mode(self.options.mode), 1)
        architecture = "tiny" if self.options.tiny else "gemma-3-27b"
        with self._language_model(architecture) as load, self.speech.execution.activate():
            frames = {}
            for name, kind in (("alone", Kind.REST), ("prefill", Kind.PREFILL), ("decode", Kind.DECODE)):
                load.switch_to(kind)
                frames[name] = self.frames(self.speech.slots[0])
            load.switch_to(Kind.REST)
        return frames | {"times_alone": ratios(frames)}

    def _language_model(self, architecture: str) -> AbstractContextManager[LanguageModelLoad]:
        if self.options.place == "thread":
            return language_model_load.in_thread(self.options.device, architecture)
        environment = json.loads(self.options.llm_environment)
        return language_model_load.in_process(self.options.device, architecture, {**os.environ, **environment})


def ratios(frames: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return how many times longer a frame takes than alone, by the language model's work, for median and p95."""
    return {
        name: {share: frames[name][share] / frames["alone"][share] for share in ("p50", "p95")}
        for name in frames
        if name != "alone"
    }
