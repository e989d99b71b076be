"""From one core and one GPU to a fleet: what so many calls under way need, and what breaks first.

Arithmetic around the simulation. Every figure says where it is from: measured, counted from a file of this project, or
assumed because nobody has measured it.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import turngap_agent
from turngap.caller.dialects import StreamNames
from turngap.caller.dialects.registry import TWILIO, make_dialect
from turngap_agent.llm.vllm.settings import GEMMA_W4A16_BYTES
from turngap_agent.telephony import FRAME_SAMPLES

from benchmarks.scale_simulation import FrameStation, Machine, Station, Talk, most_calls

CALLERS = "callers (the instrument)"
MEASURED, COUNTED, ASSUMED = "measured", "counted", "assumed"
ARCHITECTURE = Path(turngap_agent.__file__).parent / "llm/vllm/architectures/gemma-3-27b-w4a16/config.json"
FRAMES_A_SECOND = 50
HEADERS_BYTES = 14 + 20 + 32
"""Ethernet, IPv4, TCP with its time stamps; each message leaves in a packet of its own."""
WEBSOCKET_BYTES = 8
"""Of a message of 126 bytes to 64 KiB from the caller, who masks; 4 from the agent."""
CSM_FRAME_BYTES = 9.1e9
"""Read for one frame of 80 ms (docs/csm.md)."""
GB = 1e9


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What has not been measured. The defaults of times are floors: bytes over bandwidth, times `over_floor`."""

    bandwidth_gb_s: float = 4300.0
    """An H200's copy rate, by docs/csm.md."""
    over_floor: float = 1.0
    """How much slower than the floor the GPU works."""
    gpu_gb: float = 141.0
    stt_ms: float = 20.0
    """One transcription by distil-large-v3 alone."""
    first_clause_tokens: int = 8
    reply_tokens: int = 24
    context_tokens: int = 500
    """Of a call at its middle: system prompt, its own block, ten turns."""
    stage_budget_ms: float = 150.0
    """What each engine may take to its first result at p95, its queue included: speculation hides so much."""
    core_load: float = 0.7
    """How much of a core callers may take: beyond it frames become late before the core is full."""
    spare: float = 0.1
    """Units more than needed, for those that fail."""
    gpu_price: float = 4.0
    core_price: float = 0.05
    """An hour, USD."""

    def floor_ms(self, read_bytes: float) -> float:
        """Return the time of work that reads so many bytes."""
        return 1000 * read_bytes / (self.bandwidth_gb_s * GB) * self.over_floor


@dataclass(frozen=True, slots=True)
class MeasuredCore:
    """What was measured of one core."""

    caller_cores_a_call: float
    loop_us: float
    """A call's frame, in and out, on the agent's event loop."""
    floor_ms: tuple[float, ...]
    """Gaps at the smallest load."""


@dataclass(frozen=True, slots=True)
class Need:
    """One resource: how many calls a unit of it carries, and why no more."""

    what: str
    unit: str
    calls_a_unit: float
    because: str
    source: str
    price: float = 0.0
    """Of a unit, an hour."""

    def units(self, calls: int, spare: float) -> int:
        """Return how many units so many calls need, the spare ones among them."""
        return math.ceil(math.ceil(calls / self.calls_a_unit) * (1 + spare)) if self.calls_a_unit else 0


def kv_bytes(tokens: int, architecture: Path = ARCHITECTURE) -> int:
    """Return the bytes of keys and values (bf16) that a language model keeps for so many tokens of one call.

    Layers with a sliding window keep no more tokens than its length.
    """
    config = json.loads(architecture.read_text("utf-8"))
    layers, every = config["num_hidden_layers"], config["sliding_window_pattern"]
    whole = layers // every
    a_token = 2 * config["num_key_value_heads"] * config["head_dim"] * 2
    return int(a_token) * int(whole * tokens + (layers - whole) * min(tokens, config["sliding_window"]))


def frame_bytes() -> int:
    """Return the bytes on the network of one frame of 20 ms from the caller: message and headers."""
    dialect = make_dialect(TWILIO, StreamNames("MZ" + "0" * 32, "CA" + "0" * 32, "AC" + "0" * 32, 0))
    for frame in range(1000):  # its counters have as many digits as in the middle of a call
        dialect.media_message(frame, bytes(FRAME_SAMPLES))
    message = dialect.media_message(1000, bytes(FRAME_SAMPLES))
    size = len(message if isinstance(message, bytes) else message.encode())
    assert size > len(base64.b64encode(bytes(FRAME_SAMPLES)))
    return size + WEBSOCKET_BYTES + HEADERS_BYTES


def list_core_needs(core: MeasuredCore, talk: Talk, assumed: Assumptions, *, seconds: float = 10.0) -> list[Need]:
    """Return what a fleet needs of cores, from what was measured of one."""
    slack_ms = 20.0
    media = Machine(talk, loop_us=core.loop_us, floor_ms=core.floor_ms)
    p95_ms = sorted(core.floor_ms)[int(0.95 * (len(core.floor_ms) - 1))]
    loop_calls = most_calls(media, p95_ms + slack_ms, seconds=seconds)
    return [
        Need(
            CALLERS,
            "core",
            assumed.core_load / core.caller_cores_a_call,
            f"{100 * core.caller_cores_a_call:.2f} % of a core a call, at most {assumed.core_load:.0%} of it",
            MEASURED,
            assumed.core_price,
        ),
        Need(
            "media, the agent's event loop",
            "core",
            loop_calls,
            f"{core.loop_us:.0f} µs a frame and call; p95 at most {slack_ms:g} ms over that of an idle core",
            f"{MEASURED}, simulated",
            assumed.core_price,
        ),
    ]


def list_gpu_needs(talk: Talk, assumed: Assumptions, *, seconds: float = 30.0) -> list[Need]:
    """Return what a fleet needs of GPUs, where nothing has been measured; the calls a card carries are simulated."""
    alone = replace(talk, silence_ms=0.0)  # the stages' budget is for their own time
    context = kv_bytes(assumed.context_tokens)
    free = 0.9 * assumed.gpu_gb * GB - GEMMA_W4A16_BYTES
    sequences = 32
    step_ms = assumed.floor_ms(GEMMA_W4A16_BYTES + sequences * context)
    clause_ms = (1 + assumed.first_clause_tokens) * step_ms
    rest_ms = (assumed.reply_tokens - assumed.first_clause_tokens) * step_ms
    llm = Machine(alone, (Station("llm", clause_ms, sequences, 0.2, rest_ms),))
    by_time = most_calls(llm, assumed.stage_budget_ms, seconds=seconds)
    by_memory = int(free / context)
    stt = Machine(alone, (Station("stt", assumed.stt_ms * assumed.over_floor, 1, 0.3),))
    frame_ms = assumed.floor_ms(CSM_FRAME_BYTES)
    csm = Machine(alone, synthesiser=FrameStation("csm", frame_ms))
    speaking = talk.reply_s / talk.turn_s
    return [
        Need(
            "speech to text",
            "GPU",
            most_calls(stt, assumed.stage_budget_ms, seconds=seconds),
            f"{assumed.stt_ms * assumed.over_floor:.0f} ms a turn, one at a time",
            f"{ASSUMED}, simulated",
            assumed.gpu_price,
        ),
        Need(
            "language model, its time",
            "GPU",
            by_time,
            f"a step of {step_ms:.1f} ms with {sequences} calls in it, {1 + assumed.first_clause_tokens} to the first "
            "clause",
            f"{ASSUMED}, simulated",
            assumed.gpu_price if by_time <= by_memory else 0.0,
        ),
        Need(
            "language model, keys and values",
            "GPU",
            by_memory,
            f"{context / 2**20:.0f} MiB a call of {assumed.context_tokens} tokens, {free / GB:.0f} GB left beside the "
            "weights",
            COUNTED,
            assumed.gpu_price if by_memory < by_time or not by_time else 0.0,
        ),
        Need(
            "CSM",
            "GPU",
            most_calls(csm, assumed.stage_budget_ms, seconds=seconds),
            f"{frame_ms:.1f} ms a frame of 80 ms, calls in turn; {speaking:.0%} of the calls speak",
            f"{ASSUMED}, simulated",
            assumed.gpu_price,
        ),
    ]


def network_mbit_s(calls: int) -> float:
    """Return the Mbit/s of so many calls in one direction, frames of silence among them."""
    return calls * FRAMES_A_SECOND * frame_bytes() * 8 / 1e6


def hourly_cost(needs: Sequence[Need], calls: int, spare: float) -> float:
    """Return what so many calls cost an hour, without the callers, who are the instrument."""
    return sum(need.units(calls, spare) * need.price for need in needs if need.what != CALLERS)
