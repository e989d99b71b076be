"""Measures CSM on this machine: first audio, time a frame and where it goes, kernels, syncs, memory, and the floor.

    python benchmarks/csm.py --weights random --device cuda --out results/gpu/

Every part is independent: what fails is noted and the rest goes on, and the result file is written after each part.
Needs torch, transformers and numpy only.
"""

from __future__ import annotations

import argparse
import json
import math
import operator
import platform
import re
import signal
import sys
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.device.graphs import Mode
from pipeline.device.tokens import StandInTokenizer
from pipeline.tts.csm import model, random_weights
from pipeline.tts.csm.context import Plan, Segment
from pipeline.tts.csm.sampling import Sampling
from pipeline.tts.csm.slot import Slot
from pipeline.tts.csm.speech import Speech

SCHEMA = 1
TEXT_POSITIONS = 15
CONTEXTS = (15, 150, 1500)
"""Positions in all, the text's included; 150 is a voice prompt of ten seconds."""
GOALS = {"first_audio_p95_ms_at_150": 25.0, "frame_p95_ms": 10.0, "times_faster_than_transformers": 5.0}
SYNCHRONISING = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "unique", "equal", "item")


class Operations(TorchDispatchMode):  # type: ignore[misc]  # torch is not seen by the type check
    """Counts the operations that are dispatched, and those that read a tensor back to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.host_syncs = 0

    def __torch_dispatch__(self, function: Any, kinds: Any, args: Any = (), more: Any = None) -> Any:
        self.count += 1
        self.host_syncs += function.__name__.split(".")[0] in SYNCHRONISING
        return function(*args, **(more or {}))


class Bench:
    """One run: a loaded checkpoint, and the result as far as it is known."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.started = time.monotonic()
        self.device = torch.device(options.device)
        self.cuda = self.device.type == "cuda"
        self.modes = [Mode(name) for name in options.modes.split(",")]
        self.result: dict[str, Any] = {
            "schema": SCHEMA,
            "machine": machine(self.device),
            "options": vars(options).copy(),
        }
        self.result["goals"] = {} if options.tiny else GOALS
        self.result["failed"] = {}
        self.checkpoint: model.Checkpoint
        self.speech: Speech

    def run(self) -> dict[str, Any]:
        """All parts; the result as it is written."""
        self.part("load", self.load)
        if "load" in self.result["failed"]:
            return self.result
        self.part("bandwidth", self.bandwidth)
        self.part("bytes", self.bytes)
        self.part("codec", self.codec)
        # Compiling comes last: it may take the rest of the time.
        for mode in self.modes[:-1]:
            self.part(str(mode), partial(self.measure, mode))
        self.part("transformers", self.transformers)
        self.part(str(self.modes[-1]), lambda: self.measure(self.modes[-1]))
        self.part("fit", self.fit)
        self.part("verdict", self.verdict)
        return self.result

    def left(self) -> float:
        """Seconds until the run's own limit."""
        return float(self.options.limit_s - (time.monotonic() - self.started))

    def part(self, name: str, measure: Callable[[], dict[str, Any]]) -> None:
        """Run one part; keep what it gives, or why it failed."""
        began = time.monotonic()
        try:
            with self.alarm():
                self.result[name] = measure()
        except Exception as fault:  # noqa: BLE001 - the other parts are worth having
            self.result["failed"][name] = f"{type(fault).__name__}: {' '.join(str(fault).split())[:400]}"
            print(f"  {name}: FAILED: {self.result['failed'][name]}", flush=True)
        else:
            print(f"  {name}: {time.monotonic() - began:.1f} s", flush=True)
            self.result[name]["took_s"] = round(time.monotonic() - began, 2)
        self.write()

    @contextmanager
    def alarm(self) -> Iterator[None]:
        """Raises TimeoutError in what runs past the limit; the parts after it get a second each."""

        def ring(*_: Any) -> None:
            raise TimeoutError(f"the limit of {self.options.limit_s:.0f} s was reached")

        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, max(1.0, self.left()))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    # Parts

    def load(self) -> dict[str, Any]:
        """The weights, and what they take."""
        options = self.options
        if options.tiny:
            with model._quiet():
                network = random_weights.build(random_weights.tiny(), self.device, torch.float32)
            model.trim_heads(network)
            self.checkpoint = model.Checkpoint(network, StandInTokenizer(256), "tiny", random=True)
        else:
            self.checkpoint = model.load(options.weights, device=options.device, dtype=options.dtype)
        positions = self.checkpoint.network.config.max_position_embeddings
        self.speech = Speech(
            self.checkpoint, sampling=Sampling(0.9, 50 if not options.tiny else 20), positions=positions
        )
        parameters = sum(parameter.numel() for parameter in self.checkpoint.network.parameters())
        return {"origin": self.checkpoint.origin, "parameters": parameters, "memory_mib": self.memory()}

    def bandwidth(self) -> dict[str, Any]:
        """Bytes read and written a second by a plain copy on the device, the best of several."""
        size = (4 << 30) if self.cuda else (64 << 20)
        source = torch.randint(0, 100, (size,), dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        rates = [2 * size / self.timed(lambda: target.copy_(source)) for _ in range(8)]
        return {"copy_gb_s": max(rates) / 1e9, "bytes": size}

    def bytes(self) -> dict[str, Any]:
        """Bytes of weights that one frame must read, by stage, and the time that takes at the copy's rate."""
        speech = self.speech
        parts = {
            "backbone": speech.backbone.bytes_read(),
            "depth": speech.depth.bytes_read(),
            "codec": speech.codec.bytes_read(),
        }
        rate = self.result["bandwidth"]["copy_gb_s"] * 1e9
        return {"a_frame": parts, "floor_ms": 1e3 * sum(parts.values()) / rate}

    def codec(self) -> dict[str, Any]:
        """Signal over error of frame by frame decoding against one offline decode, on this device."""
        decoder, mimi = self.speech.codec, self.checkpoint.network.codec_model
        size = self.checkpoint.network.config.codec_config.codebook_size
        codes = torch.randint(0, size, (150, decoder.codebooks), device=self.device)
        with self.speech.execution.active():
            state = decoder.state()
            streamed = torch.cat([decoder.step(frame, state) for frame in codes])
            offline = mimi.decode(codes.T[None]).audio_values[0, 0]
            ratio = (offline.double() ** 2).sum() / ((offline - streamed).double() ** 2).sum()
        return {"frames": len(codes), "signal_to_error_db": float(10 * torch.log10(ratio))}

    def measure(self, mode: Mode) -> dict[str, Any]:
        """Everything about one way to run the units."""
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        preparing = time.monotonic()
        self.speech.prepare(mode, 1)
        prepared_s = time.monotonic() - preparing
        slot = self.speech.slots[0]
        found: dict[str, Any] = {"prepared_s": prepared_s, "graphs": self.speech.execution.captured}
        with self.speech.execution.active():
            found["first_audio_ms"] = {
                str(positions): self.first_audio(slot, positions) for positions in self.contexts()
            }
            found["frame_ms"] = self.frames(slot)
            found["split_ms"] = self.split(slot)
            found["counts"] = self.counts(slot, mode)
            found["frame_checksums"] = self.checksums(slot)
        found["memory_mib"] = self.memory()
        frame = found["frame_ms"]
        found["real_time_factor"] = {name: frame[name] / 80 for name in ("p50", "p95")}
        return found

    def transformers(self) -> dict[str, Any]:
        """transformers' own generate on the same weights, best of three: whole audio, since it gives none before."""
        network, frames = self.checkpoint.network, 12
        ids = torch.randint(0, 200, (1, TEXT_POSITIONS), device=self.device)
        options = {"do_sample": True, "depth_decoder_do_sample": True, "top_k": 50, "temperature": 0.9}

        def generate(count: int) -> None:
            network.generate(input_ids=ids, max_new_tokens=count, output_audio=True, **options)

        with torch.inference_mode(), warnings.catch_warnings(), model._quiet():
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
        """The fastest mode against transformers and the goals."""
        best = min(
            (str(mode) for mode in self.modes if str(mode) in self.result),
            key=lambda mode: self.result[mode]["frame_ms"]["p50"],
        )
        found = self.result[best]
        measured = {
            "first_audio_p95_ms_at_150": found["first_audio_ms"].get("150", {}).get("kept", {}).get("p95"),
            "frame_p95_ms": found["frame_ms"]["p95"],
            "times_faster_than_transformers": self.result["transformers"]["frame_ms"] / found["frame_ms"]["p50"],
        }
        eager = self.result.get(str(Mode.EAGER), found)["frame_checksums"]
        same = {
            str(mode): sum(map(operator.eq, self.result[mode]["frame_checksums"], eager))
            for mode in self.modes
            if str(mode) in self.result
        }
        return {"mode": best, **measured, "frames_of_8_as_eager": same}

    def fit(self) -> dict[str, Any]:
        """t = a·kernels + bytes/bandwidth over the graphed stages: a, and how far the fit is off."""
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

    # What the parts are made of

    def contexts(self) -> tuple[int, ...]:
        """The context sizes that fit this model."""
        room = self.speech.positions - 60
        return tuple(sorted({min(positions, room) for positions in CONTEXTS}))

    def plan(self, positions: int, frames: int, name: str = "") -> Plan:
        """Context of random audio before a short text, `positions` in all."""
        ids = tuple(range(20, 20 + TEXT_POSITIONS))
        audio = positions - TEXT_POSITIONS - TEXT_POSITIONS - 1
        if audio <= 0:
            return Plan((), ids[:positions], frames, reads_end=False)
        size = self.checkpoint.network.config.codec_config.codebook_size
        codes = torch.randint(0, size, (audio, self.speech.codec.codebooks), device=self.device)
        return Plan((Segment(f"{positions}{name}".encode(), ids, codes),), ids, frames, reads_end=False)

    def first_audio(self, slot: Slot, positions: int) -> dict[str, Any]:
        """Text handed over → first samples on the host; with the context kept, and with all of it taken in."""
        runs = 100 if self.cuda else 5

        def once(plan: Plan) -> float:
            began = time.perf_counter()
            slot.begin(plan, seed=0)
            slot.frame()
            elapsed = time.perf_counter() - began
            self.wait()
            return elapsed

        kept = self.plan(positions, 2)
        for _ in range(3):
            once(kept)
        found = {"kept": summary([once(kept) for _ in range(runs)])}
        if kept.segments:
            others = [self.plan(positions, 2, name=str(number)) for number in range(max(1, runs // 5))]
            found["afresh"] = summary([once(other) for other in others])
        return found

    def frames(self, slot: Slot) -> dict[str, Any]:
        """Frame to frame as a call sees it, at 150 positions of context."""
        count = 200 if self.cuda else 8
        slot.begin(self.plan(self.contexts()[min(1, len(self.contexts()) - 1)], count, name="frames"), seed=0)
        slot.frame()
        times = []
        for _ in range(count - 3):
            began = time.perf_counter()
            slot.frame()
            times.append(time.perf_counter() - began)
        return summary(times)

    def split(self, slot: Slot) -> dict[str, Any]:
        """Each unit on its own, waited for."""
        slot.begin(self.plan(self.contexts()[0], 400, name="split"), seed=0)
        return {
            stage: summary([self.timed(unit) for _ in range(100 if self.cuda else 5)])
            for stage, unit in self.units(slot).items()
        }

    def units(self, slot: Slot) -> dict[str, Callable[[], None]]:
        """The units of a frame, by stage."""
        step = slot._step_units[slot._windows[0]]
        return {"backbone": step, "depth": slot._parts.depth_unit, "codec": slot._codec_unit}

    def counts(self, slot: Slot, mode: Mode) -> dict[str, Any]:
        """Kernels of one frame (operations on a CPU) by stage, and the host syncs inside it."""
        slot.begin(self.plan(self.contexts()[0], 400, name="counts"), seed=0)
        if not self.cuda and mode is Mode.COMPILED:
            return {"a_stage": {}, "a_frame": None}  # operations are dispatched no more
        count = self.kernels if self.cuda else self.operations
        stages = {stage: count(unit) for stage, unit in self.units(slot).items()}
        found: dict[str, Any] = {"a_stage": stages, "a_frame": sum(stages.values())}
        if self.cuda:
            found["host_syncs"] = sum(self.cuda_syncs(unit) for unit in self.units(slot).values())
        elif mode is Mode.EAGER:
            with Operations() as operations:
                slot._launch()
            found["host_syncs"] = operations.host_syncs
        return found

    def checksums(self, slot: Slot) -> list[int]:
        """Of the codes of eight frames of a set text: modes that compute the same have the same."""
        slot.begin(self.plan(TEXT_POSITIONS, 8), seed=1)
        found = []
        for _ in range(8):
            found.append(zlib.crc32(bytes(str(slot.codes().tolist()), "ascii")))
            slot.frame()
        return found

    def kernels(self, unit: Callable[[], None]) -> int:
        """Kernels and copies on the GPU for one run, as the profiler sees them."""
        from torch.profiler import ProfilerActivity, profile

        self.wait()
        with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiler:
            unit()
            self.wait()
        return sum(event.device_type == torch.autograd.DeviceType.CUDA for event in profiler.events())

    def operations(self, unit: Callable[[], None]) -> int:
        """Operations dispatched for one run."""
        with Operations() as operations:
            unit()
        count: int = operations.count
        return count

    def cuda_syncs(self, unit: Callable[[], None]) -> int:
        """How often CUDA made the host wait inside one run, by torch's own report."""
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                unit()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(warning.message) for warning in caught)

    def memory(self) -> dict[str, float]:
        """MiB of the process: now, and the most so far."""
        if not self.cuda:
            import resource

            return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        free, total = torch.cuda.mem_get_info()
        return {
            "allocated": torch.cuda.memory_allocated() / 2**20,
            "reserved": torch.cuda.memory_reserved() / 2**20,
            "peak": torch.cuda.max_memory_allocated() / 2**20,
            "card_used": (total - free) / 2**20,
        }

    def timed(self, work: Callable[[], Any]) -> float:
        """Seconds `work` takes, its device work included."""
        self.wait()
        began = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - began

    def wait(self) -> None:
        """Until the device has done all it was given."""
        if self.cuda:
            torch.cuda.synchronize()

    def write(self) -> None:
        """The result so far, in a file that the device's name names."""
        folder = Path(self.options.out)
        folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^a-z0-9]+", "-", self.result["machine"]["device"].lower()).strip("-")
        path = folder / f"csm-{'tiny-' if self.options.tiny else ''}{name}.json"
        self.result["file"] = str(path)
        self.result["took_s"] = round(time.monotonic() - self.started, 1)
        path.write_text(json.dumps(self.result, indent=1) + "\n", "utf-8")


def summary(seconds: list[float]) -> dict[str, float]:
    """Times in ms: how many, p50, p95, the longest."""
    ordered = sorted(1e3 * value for value in seconds)
    nearest = ordered[max(0, math.ceil(0.95 * len(ordered)) - 1)]
    return {"n": len(ordered), "p50": float(np.median(ordered)), "p95": nearest, "max": ordered[-1]}


def machine(device: torch.device) -> dict[str, Any]:
    """What was measured on."""
    import transformers

    cuda = device.type == "cuda" and torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name(device) if cuda else f"cpu {platform.machine()}",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
    }


def table(result: dict[str, Any]) -> str:
    """The result for a person."""
    lines = [f"{result['machine']['device']} · torch {result['machine']['torch']}"]
    if "bytes" in result:
        rate, floor = result["bandwidth"]["copy_gb_s"], result["bytes"]["floor_ms"]
        lines.append(f"copy {rate:,.0f} GB/s · floor by bytes {floor:.2f} ms a frame of 80 ms")
    if "codec" in result:
        lines.append(f"codec frame by frame: {result['codec']['signal_to_error_db']:.0f} dB against one offline decode")
    for mode in Mode:
        found = result.get(str(mode))
        if not found:
            continue
        frame, counts = found["frame_ms"], found["counts"]
        lines.append(f"{mode}: frame p50 {frame['p50']:.2f}, p95 {frame['p95']:.2f} ms (RTF {frame['p95'] / 80:.3f})")
        split = " ".join(f"{stage} {times['p50']:.2f}" for stage, times in found["split_ms"].items())
        kind = "kernels" if "cuda" in result["options"]["device"] else "operations"
        lines.append(f"  split {split} ms · {counts['a_frame']} {kind}, {counts.get('host_syncs', '?')} host syncs")
        for positions, times in found["first_audio_ms"].items():
            named = ", ".join(f"{how} p50 {t['p50']:.1f} p95 {t['p95']:.1f}" for how, t in times.items())
            lines.append(f"  first audio at {positions} positions: {named} ms")
        lines.append(f"  memory {found['memory_mib']} MiB · prepared in {found['prepared_s']:.0f} s")
    if "transformers" in result:
        other = result["transformers"]
        lines.append(
            f"transformers generate: {other['frame_ms']:.1f} ms a frame, {other['operations_a_frame']} operations, "
            f"{other['host_syncs_a_frame']} host syncs; 2 s of audio, all at once, after "
            f"{other['two_seconds_of_audio_ms']:.0f} ms"
        )
    if "a_us_a_kernel" in result.get("fit", {}):
        fit = result["fit"]
        lines.append(f"fit: {fit['a_us_a_kernel']:.2f} µs for each of the {fit['counted']} + bytes/bandwidth")
    if "verdict" in result:
        verdict = result["verdict"]
        lines.append(f"frames of 8 with the codes of eager: {verdict['frames_of_8_as_eager']}")
        for goal, wanted in result["goals"].items():
            lines.append(f"{verdict['mode']}: {goal} {verdict[goal]:.1f} (goal {wanted:g})")
    lines += [f"FAILED {name}: {why}" for name, why in result["failed"].items()]
    return "\n".join(lines)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="random", help="random, real, or a checkpoint's folder")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--modes", help="of eager, graphs, compiled, joined by commas; all on a GPU, eager on a CPU")
    parser.add_argument("--tiny", action="store_true", help="a tiny model, to try the script itself")
    parser.add_argument("--limit-s", type=float, default=460, help="seconds after which what is not measured is not")
    parser.add_argument("--out", default="results/gpu")
    options = parser.parse_args(arguments)
    options.modes = options.modes or ("graphs,eager,compiled" if options.device.startswith("cuda") else "eager")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, print; 0 if every part gave a result."""
    result = Bench(parse(arguments)).run()
    print(table(result))
    print(result.get("file", ""))
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
