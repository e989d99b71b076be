"""Measurements of one slot of a loaded CSM, of which the parts are made."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from typing import Any

import torch
from turngap_agent.device.execution import Mode
from turngap_agent.device.operation_counts import Operations, host_waits, kernels, operations
from turngap_agent.device.stand_in_tokenizer import StandInTokenizer
from turngap_agent.tts.csm import model, random_weights
from turngap_agent.tts.csm.context import Segment, SpeechPlan
from turngap_agent.tts.csm.fast_paths import REFERENCE, FastPaths
from turngap_agent.tts.csm.sampling import Sampling
from turngap_agent.tts.csm.slot import Slot
from turngap_agent.tts.csm.speech import Speech

from benchmarks.speech.measurement import Measurement
from benchmarks.speech.results import signal_to_error_db, summary

TEXT_POSITIONS = 15
CODEC_FRAMES = 150
COUNTED_FRAMES = 20
CONTEXTS = (15, 150, 1500)
"""Context sizes in positions, with the text; 150 is a voice prompt of ten seconds."""


class SlotMeasurement(Measurement):
    """A measurement with a loaded checkpoint."""

    checkpoint: model.CsmCheckpoint
    speech: Speech
    codec_eagerly: torch.Tensor
    """The samples of `codec_codes`, decoded eagerly, on the host; there once the part `codec` has run."""

    def load(self) -> dict[str, Any]:
        """Load the weights; return their origin and size."""
        options = self.options
        if options.tiny:
            with model.silence_transformers():
                network = random_weights.build(random_weights.tiny(), self.device, torch.float32)
            model.trim_heads(network)
            self.checkpoint = model.CsmCheckpoint(network, StandInTokenizer(256), "tiny", random=True)
        else:
            self.checkpoint = model.load(options.weights, device=options.device, dtype=options.dtype)
        positions = self.checkpoint.network.config.max_position_embeddings
        sampling = Sampling(0.9, 50 if not options.tiny else 20)
        self.speech = Speech(self.checkpoint, sampling=sampling, positions=positions, fast=self.fast_paths())
        parameters = sum(parameter.numel() for parameter in self.checkpoint.network.parameters())
        return {"origin": self.checkpoint.origin, "parameters": parameters}

    def fast_paths(self) -> FastPaths:
        """Return the faster paths that the options name; by default the reference."""
        return REFERENCE

    def contexts(self) -> tuple[int, ...]:
        """Return the context sizes that fit this model."""
        room = self.speech.positions - 60
        return tuple(sorted({min(positions, room) for positions in CONTEXTS}))

    def plan(self, positions: int, frames: int, name: str = "") -> SpeechPlan:
        """Return a plan with a context of random audio before a short text, `positions` in all."""
        ids = tuple(range(20, 20 + TEXT_POSITIONS))
        audio = positions - TEXT_POSITIONS - TEXT_POSITIONS - 1
        if audio <= 0:
            return SpeechPlan((), ids[:positions], frames, reads_end=False)
        size = self.checkpoint.network.config.codec_config.codebook_size
        codes = torch.randint(0, size, (audio, self.speech.codec.codebooks), device=self.device)
        return SpeechPlan((Segment(f"{positions}{name}".encode(), ids, codes),), ids, frames, reads_end=False)

    def runs(self) -> int:
        """Return how often a time is taken: fewer where nothing is captured, which is slow and only a reference."""
        if not self.cuda:
            return 5
        return 20 if self.speech.execution.mode is Mode.EAGER else 100

    def first_audio(self, slot: Slot, positions: int) -> dict[str, Any]:
        """Return the time from text to first samples on the host, with the context cached, and with all prefilled."""
        runs = self.runs()

        def once(plan: SpeechPlan) -> float:
            began = time.perf_counter()
            slot.start(plan, seed=0)
            slot.next_frame()
            elapsed = time.perf_counter() - began
            self.wait()
            return elapsed

        cached_plan = self.plan(positions, 2)
        for _ in range(3):
            once(cached_plan)
        result = {"kept": summary([once(cached_plan) for _ in range(runs)])}
        if cached_plan.segments:
            others = [self.plan(positions, 2, name=str(number)) for number in range(max(1, runs // 5))]
            result["afresh"] = summary([once(other) for other in others])
        return result

    def frames(self, slot: Slot) -> dict[str, Any]:
        """Return the time from frame to frame as a call sees it, at 150 positions of context."""
        count = 2 * self.runs() if self.cuda else 8
        slot.start(self.plan(self.contexts()[min(1, len(self.contexts()) - 1)], count, name="frames"), seed=0)
        slot.next_frame()
        times = []
        for _ in range(count - 3):
            began = time.perf_counter()
            slot.next_frame()
            times.append(time.perf_counter() - began)
        return summary(times)

    def split(self, slot: Slot) -> dict[str, Any]:
        """Return the time of each unit on its own, with synchronisation."""
        slot.start(self.plan(self.contexts()[0], 400, name="split"), seed=0)
        return {
            stage: summary([self.timed(unit) for _ in range(self.runs())]) for stage, unit in self.units(slot).items()
        }

    def units(self, slot: Slot) -> dict[str, Callable[[], None]]:
        """Return the units of a frame, by stage."""
        step = slot._step_units[slot._windows[0]]
        return {"backbone": step, "depth": slot._parts.depth_unit, "codec": slot._codec_unit}

    def counts(self, slot: Slot, mode: Mode) -> dict[str, Any]:
        """Return the kernels of one frame (operations on a CPU) by stage, and how often the host stops in it.

        On a GPU `host_waits_a_frame`, as CUDA's calls show them while frames are read as a call reads them: one a frame
        is the wait for its samples. On a CPU, in the eager mode, `host_reads_a_frame`: operations that read a value.
        """
        slot.start(self.plan(self.contexts()[0], 400, name="counts"), seed=0)
        if not self.cuda and mode is Mode.COMPILED:
            return {"a_stage": {}, "a_frame": None}  # a compiled unit dispatches no operations
        count = kernels if self.cuda else operations
        stages = {stage: count(unit) for stage, unit in self.units(slot).items()}
        result: dict[str, Any] = {"a_stage": stages, "a_frame": sum(stages.values())}
        if self.cuda:

            def read() -> None:
                for _ in range(COUNTED_FRAMES):
                    slot.next_frame()

            result["host_waits_a_frame"] = host_waits(read) / COUNTED_FRAMES
        elif mode is Mode.EAGER:
            with Operations() as counted:
                slot.launch()
            result["host_reads_a_frame"] = counted.host_reads
        return result

    def codec_codes(self) -> torch.Tensor:
        """Return the same random codes each time, shape (frames, codebooks), on the device."""
        size = self.checkpoint.network.config.codec_config.codebook_size
        shape, generator = (CODEC_FRAMES, self.speech.codec.codebooks), torch.Generator().manual_seed(0)
        return torch.randint(0, size, shape, generator=generator).to(self.device)

    def codec_output(self, slot: Slot) -> dict[str, Any]:
        """Return the signal-to-error ratio of this mode's codec against the eager one (None: equal samples)."""
        slot._reset_unit()
        samples = []
        for codes in self.codec_codes():
            slot._heard.copy_(codes)
            slot._codec_unit()
            samples.append(slot._output[:-1].clone())
        output = torch.cat(samples).cpu()
        return {"frames": len(samples), "signal_to_error_db": signal_to_error_db(self.codec_eagerly, output)}

    def checksums(self, slot: Slot) -> list[int]:
        """Return checksums of the codes of eight frames of a fixed text, equal for modes that compute the same."""
        slot.start(self.plan(TEXT_POSITIONS, 8), seed=1)
        sums = []
        for _ in range(8):
            sums.append(zlib.crc32(bytes(str(slot.last_codes().tolist()), "ascii")))
            slot.next_frame()
        return sums
