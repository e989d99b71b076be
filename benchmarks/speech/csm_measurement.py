"""Measures CSM alone: first audio, the time of a frame and its parts, and transformers' own generate for comparison."""

from __future__ import annotations

import argparse
import operator
import time
import warnings
from functools import partial
from typing import Any

import numpy as np
import torch
from turngap_agent.device.execution import Mode
from turngap_agent.tts.csm import model

from benchmarks.speech.operation_counts import Operations
from benchmarks.speech.slot_measurement import TEXT_POSITIONS, SlotMeasurement

GOALS = {"first_audio_p95_ms_at_150": 25.0, "frame_p95_ms": 10.0, "times_faster_than_transformers": 5.0}


class CsmMeasurement(SlotMeasurement):
    """All parts of the measurement of CSM."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options, "csm")
        self.modes = [Mode(name) for name in options.modes.split(",")]
        self.result["goals"] = {} if options.tiny else GOALS

    def run(self) -> dict[str, Any]:
        """Run all parts; return the result."""
        self.part("load", self.load)
        if "load" in self.result["failed"]:
            return self.result
        self.part("bandwidth", self.bandwidth)
        self.part("bytes", self.bytes)
        self.part("codec", self.codec)
        # The last mode may be compiled, which may take all the time that is left.
        for mode in self.modes[:-1]:
            self.part(str(mode), partial(self.measure, mode))
        self.part("transformers", self.transformers)
        self.part(str(self.modes[-1]), lambda: self.measure(self.modes[-1]))
        self.part("fit", self.fit)
        self.part("verdict", self.verdict)
        return self.result

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
        size = self.checkpoint.network.config.codec_config.codebook_size
        codes = torch.randint(0, size, (150, decoder.codebooks), device=self.device)
        with self.speech.execution.activate():
            state = decoder.new_state()
            streamed = torch.cat([decoder.decode_frame(frame, state) for frame in codes])
            offline = mimi.decode(codes.T[None]).audio_values[0, 0]
            ratio = (offline.double() ** 2).sum() / ((offline - streamed).double() ** 2).sum()
        return {"frames": len(codes), "signal_to_error_db": float(10 * torch.log10(ratio))}

    def measure(self, mode: Mode) -> dict[str, Any]:
        """Measure one mode of execution."""
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        preparing = time.monotonic()
        self.speech.prepare(mode, 1)
        prepared_s = time.monotonic() - preparing
        slot = self.speech.slots[0]
        result: dict[str, Any] = {"prepared_s": prepared_s, "graphs": self.speech.execution.graph_count}
        with self.speech.execution.activate():
            result["first_audio_ms"] = {
                str(positions): self.first_audio(slot, positions) for positions in self.contexts()
            }
            result["frame_ms"] = self.frames(slot)
            result["split_ms"] = self.split(slot)
            result["counts"] = self.counts(slot, mode)
            result["frame_checksums"] = self.checksums(slot)
        result["memory_mib"] = self.memory()
        frame = result["frame_ms"]
        result["real_time_factor"] = {name: frame[name] / 80 for name in ("p50", "p95")}
        return result

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
            "host_syncs_a_frame": more.host_syncs - fewer.host_syncs,
        }

    def verdict(self) -> dict[str, Any]:
        """Compare the fastest mode with transformers and the goals."""
        best = min(
            (str(mode) for mode in self.modes if str(mode) in self.result),
            key=lambda mode: self.result[mode]["frame_ms"]["p50"],
        )
        best_result = self.result[best]
        measured = {
            "first_audio_p95_ms_at_150": best_result["first_audio_ms"].get("150", {}).get("kept", {}).get("p95"),
            "frame_p95_ms": best_result["frame_ms"]["p95"],
            "times_faster_than_transformers": self.result["transformers"]["frame_ms"] / best_result["frame_ms"]["p50"],
        }
        eager = self.result.get(str(Mode.EAGER), best_result)["frame_checksums"]
        same = {
            str(mode): sum(map(operator.eq, self.result[mode]["frame_checksums"], eager))
            for mode in self.modes
            if str(mode) in self.result
        }
        return {"mode": best, **measured, "frames_of_8_as_eager": same}

    def fit(self) -> dict[str, Any]:
        """Fit t = a · kernels + bytes / bandwidth over the stages in captured graphs; return a and the residuals."""
        rate = self.result["bandwidth"]["copy_gb_s"] * 1e9
        points = []
        for mode in self.modes:
            measured = self.result.get(str(mode))
            if not measured or (mode is Mode.EAGER and self.cuda):
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
