"""Measures CSM alone: first audio, the time of a frame and its parts, and transformers' own generate for comparison."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from turngap_agent.device.execution import CaptureError, Mode
from turngap_agent.device.operation_counts import Operations
from turngap_agent.errors import EngineError
from turngap_agent.tts.csm import model
from turngap_agent.tts.csm.fast_paths import FastPaths

from benchmarks.speech import csm_verdict, turn_measurement
from benchmarks.speech.results import signal_to_error_db
from benchmarks.speech.slot_measurement import TEXT_POSITIONS, SlotMeasurement


class CsmMeasurement(SlotMeasurement):
    """All parts of the measurement of CSM."""

    capture_failed = False

    def __init__(self, options: argparse.Namespace) -> None:
        self.paths = [*options.fused.split(","), *(["beside"] if options.codec_beside else [])]
        self.paths = [path for path in (*self.paths, *(["int8"] if options.int8_depth else [])) if path]
        super().__init__(options, "-".join(["csm", *self.paths]))
        self.modes = [Mode(name) for name in options.modes.split(",")]
        self.result["goals"] = {} if options.tiny else csm_verdict.GOALS

    def run(self) -> dict[str, Any]:
        """Run all parts; return the result."""
        if not self.part("load", self.load):
            return self.result
        self.part("memory_mib", self.memory, within="load")
        self.part("bandwidth", self.bandwidth)
        self.part("bytes", self.bytes)
        self.part("codec", self.codec)
        # After a capture that failed nothing else can be relied on, and compiling may take all the time that is left:
        # what needs neither comes first.
        if Mode.EAGER in self.modes:
            self.measure(Mode.EAGER)
        self.part("transformers", self.transformers)
        for mode in (mode for mode in self.modes if mode is not Mode.EAGER):
            if self.capture_failed:
                self.result["failed"][str(mode)] = f"not tried after a failed capture; run it alone: --modes {mode}"
                continue
            self.measure(mode)
        self.part("fit", self.fit)
        return self.result

    def write(self) -> None:
        """Write the result so far with the verdict on it: a process that is killed has one, too."""
        verdict = csm_verdict.judge(self.result, [str(mode) for mode in self.modes])
        if verdict is not None:
            self.result["verdict"] = verdict
        super().write()

    def fast_paths(self) -> FastPaths:
        """Return the faster paths that the options name; by default the reference."""
        options = self.options
        fused = frozenset(name for name in options.fused.split(",") if name)
        return FastPaths(fused, options.codec_beside, options.int8_depth)

    def bandwidth(self) -> dict[str, Any]:
        """Return the bytes read and written per second by a copy on the device, the best of several."""
        size = (4 << 30) if self.cuda else (64 << 20)
        source = torch.randint(0, 100, (size,), dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        rates = [2 * size / self.timed(lambda: target.copy_(source)) for _ in range(8)]
        return {"copy_gb_s": max(rates) / 1e9, "bytes": size}

    def bytes(self) -> dict[str, Any]:
        """Return the bytes of weights that one frame must read, by stage, and the time for them at the copy's rate."""
        speech = self.speech
        parts = {
            "backbone": speech.backbone.bytes_read(),
            "depth": speech.depth.bytes_read(),
            "codec": speech.codec.bytes_read(),
        }
        rate = self.result["bandwidth"]["copy_gb_s"] * 1e9
        return {"a_frame": parts, "floor_ms": 1e3 * sum(parts.values()) / rate}

    def codec(self) -> dict[str, Any]:
        """Return the signal-to-error ratio of decoding frame by frame against one offline decode, on this device."""
        decoder, mimi = self.speech.codec, self.checkpoint.network.codec_model
        codes = self.codec_codes()
        with self.speech.execution.activate():
            state = decoder.new_state()
            streamed = torch.cat([decoder.decode_frame(frame, state) for frame in codes])
            offline = mimi.decode(codes.T[None]).audio_values[0, 0]
            self.codec_eagerly = streamed.cpu()
        return {"frames": len(codes), "signal_to_error_db": signal_to_error_db(offline, streamed)}

    def measure(self, mode: Mode) -> None:
        """Measure one mode of execution, the most valuable parts first; each is stored by itself."""
        name, speech = str(mode), self.speech
        if not self.part(name, lambda: self.prepare(mode)):
            return
        slot = speech.slots[0]
        parts: dict[str, Callable[[], Any]] = {
            "first_audio_ms": lambda: {str(context): self.first_audio(slot, context) for context in self.contexts()},
            "turn_first_audio_ms": lambda: turn_measurement.measure(speech, 40 if self.cuda else 2, self.wait),
            "frame_ms": lambda: self.frames(slot),
            "codec_output": lambda: self.codec_output(slot),
            "frame_checksums": lambda: self.checksums(slot),
            "split_ms": lambda: self.split(slot),
            "memory_mib": self.memory,
            "counts": lambda: self.counts(slot, mode),
        }
        for part, measure in parts.items():
            with speech.execution.activate():
                self.part(part, measure, within=name)
        if (frame := self.result[name].get("frame_ms")) is not None:
            self.result[name]["real_time_factor"] = {share: frame[share] / 80 for share in ("p50", "p95")}

    def prepare(self, mode: Mode) -> dict[str, Any]:
        """Make a slot in this mode; return the time it took (of compiling and capturing) and the number of graphs."""
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        began = time.monotonic()
        try:
            self.speech.prepare(mode, 1)
        except EngineError as error:
            self.capture_failed = isinstance(error.__cause__, CaptureError)
            raise
        return {"prepared_s": time.monotonic() - began, "graphs": self.speech.execution.graph_count}

    def transformers(self) -> dict[str, Any]:
        """Measure transformers' own generate on the same weights, best of three; it returns audio only at the end."""
        network, frames = self.checkpoint.network, 12
        ids = torch.randint(0, 200, (1, TEXT_POSITIONS), device=self.device)
        options = {"do_sample": True, "depth_decoder_do_sample": True, "top_k": 50, "temperature": 0.9}

        def generate(count: int) -> None:
            network.generate(input_ids=ids, max_new_tokens=count, output_audio=True, **options)

        with torch.inference_mode(), warnings.catch_warnings(), model.silence_transformers():
            warnings.simplefilter("ignore")
            generate(2)
            short_s = min(self.timed(lambda: generate(2)) for _ in range(3))
            long_s = min(self.timed(lambda: generate(frames)) for _ in range(3))
            with Operations() as fewer:
                generate(2)
            with Operations() as more:
                generate(3)
        return {
            "frame_ms": 1e3 * (long_s - short_s) / (frames - 2),
            "two_seconds_of_audio_ms": 1e3 * (short_s + 23 * (long_s - short_s) / (frames - 2)),
            "frames": frames,
            "operations_a_frame": more.count - fewer.count,
            "host_reads_a_frame": more.host_reads - fewer.host_reads,
        }

    def fit(self) -> dict[str, Any]:
        """Fit t = a · kernels + bytes / bandwidth over the stages in captured graphs; return a and the residuals."""
        rate = self.result["bandwidth"]["copy_gb_s"] * 1e9
        points = []
        for mode in self.modes:
            measured = self.result.get(str(mode), {})
            if not {"counts", "split_ms"} <= measured.keys() or (mode is Mode.EAGER and self.cuda):
                continue
            kernels = measured["counts"]["a_stage"]
            for stage, milliseconds in measured["split_ms"].items():
                if kernels.get(stage):
                    over = milliseconds["p50"] / 1e3 - self.result["bytes"]["a_frame"][stage] / rate
                    points.append((str(mode), stage, kernels[stage], over))
        if not points:
            return {"note": "nothing to fit"}
        counts, over = np.array([point[2] for point in points], float), np.array([point[3] for point in points])
        slope = float((counts @ over) / (counts @ counts))
        off = [
            {"mode": mode, "stage": stage, "kernels": count, "off_ms": 1e3 * (seconds - slope * count)}
            for mode, stage, count, seconds in points
        ]
        return {"a_us_a_kernel": 1e6 * slope, "counted": "kernels" if self.cuda else "operations", "residuals": off}
