"""Measures CSM's faster paths in one process, on the same weights: a few frames of each in turn, round after round.

So that a clock that sinks or a neighbour that works meets all of them, and a ratio to the reference is one of frames
that were seconds apart.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from turngap_agent.device.execution import CaptureError, Mode
from turngap_agent.errors import EngineError
from turngap_agent.tts.csm.fast_paths import REFERENCE, FastPaths
from turngap_agent.tts.csm.speech import Speech

from benchmarks.speech import likeness
from benchmarks.speech.results import summary
from benchmarks.speech.slot_measurement import SlotMeasurement

PATHS: dict[str, FastPaths] = {
    "sampling": FastPaths(frozenset({"sampling"})),
    "attention": FastPaths(frozenset({"attention"})),
    "beside": FastPaths(codec_beside=True),
    "sampling+attention+beside": FastPaths(frozenset({"sampling", "attention"}), codec_beside=True),
    "int8": FastPaths(int8_depth=True),
    "int8-kernel": FastPaths(frozenset({"int8"}), int8_depth=True),
    "dependent-launch": FastPaths(dependent_launch=True),
    "batched": FastPaths(batched=True),
    "depth": FastPaths(frozenset({"depth"})),
}
"""What `all` means, in this order."""
REFERENCE_NAME = "reference"
ROUNDS, FRAMES, SKIPPED = 12, 25, 2
LIKENESS_FRAMES = 60


class FastPathMeasurement(SlotMeasurement):
    """The measurement of faster paths against the reference, for each mode."""

    capture_failed = False

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options, "csm-paths")
        self.modes = [Mode(name) for name in options.modes.split(",")]
        self.rounds, self.round_frames = (ROUNDS, FRAMES) if self.cuda else (2, 6)

    def run(self) -> dict[str, Any]:
        """Run all parts; return the result."""
        if not self.part("load", self.load):
            return self.result
        for mode in self.modes:
            if self.capture_failed:
                self.result["failed"][str(mode)] = f"not tried after a failed capture; run it alone: --modes {mode}"
                continue
            names = self.list_paths(mode)
            apart = [name for name in names if "depth" in PATHS[name].fused]
            groups = [[name for name in names if name not in apart], apart]
            for label, group in zip(("paths", "paths_apart"), groups, strict=True):
                if group and not self.measure_group(mode, label, group):
                    break
        self.write()
        return self.result

    def measure_group(self, mode: Mode, label: str, names: list[str]) -> bool:
        """Measure paths beside each other; return whether the process can be relied on after it.

        A kernel whose programs wait for each other may wait for ever: it comes when all others have their results.
        """
        speeches = self.prepare(mode, names)
        if REFERENCE_NAME in speeches:
            self.part(label, lambda: self.compare(speeches), within=str(mode))
            self.check(str(mode), speeches)
        return bool(speeches)

    def prepare(self, mode: Mode, names: list[str]) -> dict[str, Speech]:
        """Prepare the reference and `names` in `mode`; one that does not work there is listed as failed.

        After a capture that failed no other is tried: the process cannot be relied on.
        """
        speeches: dict[str, Speech] = {}
        for name in (REFERENCE_NAME, *names):
            failures: list[BaseException | None] = []

            def make(name: str = name, failures: list[BaseException | None] = failures) -> dict[str, float]:
                began = time.monotonic()
                fast = PATHS.get(name, REFERENCE)
                speech = Speech(
                    self.checkpoint, sampling=self.speech.backbone.sampling, positions=self.speech.positions, fast=fast
                )
                try:
                    speech.prepare(mode, 2 if fast.batched else 1)
                except EngineError as error:
                    failures.append(error.__cause__)
                    raise
                speeches[name] = speech
                return {"prepared_s": time.monotonic() - began, "graphs": speech.execution.graph_count}

            self.part(f"{name} prepared", make, within=str(mode))
            if any(isinstance(cause, CaptureError) for cause in failures):
                self.capture_failed = True
                self.result["failed"][f"{mode} rest"] = f"not tried after the failed capture of {name}; leave it out"
                return {}
        return speeches

    def list_paths(self, mode: Mode) -> list[str]:
        """Return the paths of the options; of all, those that `mode` and the device have at all."""
        if self.options.paths != "all":
            return list(self.options.paths.split(","))
        return [
            name
            for name, fast in PATHS.items()
            if (self.cuda or not fast.fused) and (mode is Mode.COMPILED or not fast.dependent_launch)
        ]

    def compare(self, speeches: Mapping[str, Speech]) -> dict[str, Any]:
        """Return frame times and first audio of each path, and its frame as a share of the reference's, by rounds."""
        frames: dict[str, list[float]] = {name: [] for name in speeches}
        first: dict[str, list[float]] = {name: [] for name in speeches}
        medians: dict[str, list[float]] = {name: [] for name in speeches}
        order = list(speeches)
        for number in range(self.rounds):
            for name in order[number % len(order) :] + order[: number % len(order)]:
                began, times = self.speak_a_round(speeches[name], number)
                first[name].append(began)
                frames[name] += times
                medians[name].append(float(np.median(times)))
        result: dict[str, Any] = {}
        for name in speeches:
            shares = [one / other for one, other in zip(medians[name], medians[REFERENCE_NAME], strict=True)]
            result[name] = {
                "frame_ms": summary(frames[name]),
                "first_audio_ms": summary(first[name]),
                "of_reference": {"p50": float(np.median(shares)), "least": min(shares), "most": max(shares)},
            }
        return result

    def speak_a_round(self, speech: Speech, number: int) -> tuple[float, list[float]]:
        """Return the seconds to first audio, and those of each frame as a call sees it.

        With several slots all of them speak, and a frame is one of each: its time is divided by their number.
        """
        slots, times = speech.slots, []
        plan = self.plan(self.contexts()[min(1, len(self.contexts()) - 1)], self.round_frames, name="round")
        with speech.execution.activate():
            began = time.perf_counter()
            slots[0].start(plan, seed=number)
            slots[0].next_frame(look_ahead=False)
            first = time.perf_counter() - began
            for slot in slots[1:]:
                slot.start(plan, seed=number)
                slot.next_frame(look_ahead=False)
            for _ in range(self.round_frames - 2):
                began = time.perf_counter()
                for slot in slots:
                    if speech.batch is None:
                        slot.next_frame()
                    else:
                        speech.batch.next_frame(slot, slots)
                times.append((time.perf_counter() - began) / len(slots))
            self.wait()
        return first, times[min(SKIPPED, len(times) - 1) :]

    def check(self, mode: str, speeches: Mapping[str, Speech]) -> None:
        """Compare the codes of eight frames with the reference's, and int8's with those that it may draw."""
        sums: dict[str, list[int]] = {}
        for name, speech in speeches.items():

            def count_same_frames(name: str = name, speech: Speech = speech) -> int:
                with speech.execution.activate():
                    sums[name] = self.checksums(speech.slots[0])
                return sum(one == other for one, other in zip(sums[name], sums[REFERENCE_NAME], strict=True))

            self.part(f"{name} frames_of_8_as_reference", count_same_frames, within=mode)
        changed = next((name for name, speech in speeches.items() if speech.fast.int8_depth), None)
        if changed is not None:
            plan = self.plan(self.contexts()[0], LIKENESS_FRAMES if self.cuda else 6)

            def compare_codes() -> dict[str, Any]:
                return likeness.measure(speeches[REFERENCE_NAME], speeches[changed], plan)

            self.part("int8 likeness", compare_codes, within=mode)


def format_table(result: Mapping[str, Any]) -> str:
    """Return the result as text: each path's frame, and how many times the reference's."""
    lines = [f"{result['machine']['device']} · torch {result['machine']['torch']}"]
    for mode in (str(mode) for mode in Mode if str(mode) in result):
        figures = result[mode]
        for name, path in [*figures.get("paths", {}).items(), *figures.get("paths_apart", {}).items()]:
            frame, share = path["frame_ms"], path["of_reference"]
            same = figures.get(f"{name} frames_of_8_as_reference")
            lines.append(
                f"{mode:<9}{name:<27}frame p50 {frame['p50']:8.2f} p95 {frame['p95']:8.2f} ms, "
                f"{share['p50']:.3f} of the reference ({share['least']:.3f}-{share['most']:.3f}), "
                f"first audio p50 {path['first_audio_ms']['p50']:.1f} ms, codes as reference: "
                f"{'not known' if same is None else f'{same} of 8'}"
            )
        if (like := figures.get("int8 likeness")) is not None:
            other, draw = like["other"], like["another_draw"]
            lines.append(
                f"{mode:<9}int8: {other['same_codes']:.3f} of the codes with the same noise (another draw "
                f"{draw['same_codes']:.3f}), {other['changed_chance']:.4f} must differ; spectral distance "
                f"{other['spectral_distance_db']:.2f} dB (another draw {draw['spectral_distance_db']:.2f})"
            )
    lines += [f"FAILED {name}: {why}" for name, why in result["failed"].items()]
    return "\n".join(lines)
