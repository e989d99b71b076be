"""Measures CSM's frame time for one placement of the language model: alone, beside prefill, beside decode."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
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
        if self.part("load", self.load) and self.part("csm", self.prepare):
            try:
                with ExitStack() as stack:
                    self._measure_beside(stack)
            except Exception as fault:  # noqa: BLE001 - what was measured is kept
                self.result["failed"]["end"] = f"{type(fault).__name__}: {' '.join(str(fault).split())}"
                self.write()
        return self.result

    def prepare(self) -> dict[str, Any]:
        """Make CSM's slot in the mode of the options."""
        self.speech.prepare(Mode(self.options.mode), 1)
        return {"graphs": self.speech.execution.graph_count}

    def _measure_beside(self, stack: ExitStack) -> None:
        """Start the language model, which `stack` ends, and measure beside it."""
        architecture = "tiny" if self.options.tiny else "gemma-3-27b"
        loads: list[LanguageModelLoad] = []

        def start() -> dict[str, Any]:
            loads.append(stack.enter_context(self._language_model(architecture)))
            return {"architecture": architecture}

        if self.part("language_model", start):
            self.frame_times_under_load(loads[0])

    def frame_times_under_load(self, load: LanguageModelLoad) -> None:
        """Measure frame times alone, beside prefill and beside decode; the language model is loaded in all three."""
        for name, kind in (("alone", Kind.REST), ("prefill", Kind.PREFILL), ("decode", Kind.DECODE)):

            def measure(kind: Kind = kind) -> dict[str, float]:
                load.switch_to(kind)
                with self.speech.execution.activate():
                    return self.frames(self.speech.slots[0])

            self.part(name, measure, within="frame_ms")
        frames = self.result.get("frame_ms", {})
        if "alone" in frames:
            frames["times_alone"] = ratios(frames)
        self.write()
        load.switch_to(Kind.REST)

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
