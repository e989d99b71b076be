"""The vocabulary of a turn's trace: stages, what each waits for, span names, attributes, and injected delays.

The agent writes these spans, the instrument reads them; both import this module. A span's exact times are in its
attributes `START_NS` and `END_NS`, on the host's monotonic clock; its OpenTelemetry times are those plus one anchor.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from turngap_agent.errors import UsageError


class Stage(StrEnum):
    """The parts of the time between the caller's last sample and the agent's first, in the order of the path."""

    FRAMING_IN = "framing_in"
    """t0 → its frame is complete and sent: 0-20 ms, calculated (instrument)."""
    TRANSPORT_IN = "transport_in"
    """The frame with t0: sent → read by the agent's socket task."""
    ENDPOINTING = "endpointing"
    """Arrival of t0's frame → the end of the turn is decided (provisionally; and confirmed)."""
    TRANSCRIPTION = "transcription"
    """Audio handed to speech-to-text → transcript."""
    FIRST_TOKEN = "first_token"
    """Request to the language model → its first token."""
    FIRST_CLAUSE = "first_clause"
    """First token → the first speakable clause handed to the synthesiser."""
    FIRST_AUDIO = "first_audio"
    """Clause handed over → first PCM."""
    ENCODING = "encoding"
    """First PCM → the first wire message is ready (8 kHz, μ-law, base64)."""
    TRANSPORT_OUT = "transport_out"
    """First message of the reply handed to the socket → received by the caller."""
    LEAD_IN = "lead_in"
    """First played byte of the reply → first audible sample (instrument)."""
    UNEXPLAINED = "unexplained"
    """Path time outside all spans."""


class Activity(StrEnum):
    """The nodes of the critical path: the stages, with endpointing's two decisions apart."""

    FRAMING_IN = "framing_in"
    TRANSPORT_IN = "transport_in"
    PROVISIONAL_END = "provisional_end"
    CONFIRMED_END = "confirmed_end"
    TRANSCRIPTION = "transcription"
    FIRST_TOKEN = "first_token"
    FIRST_CLAUSE = "first_clause"
    FIRST_AUDIO = "first_audio"
    ENCODING = "encoding"
    TRANSPORT_OUT = "transport_out"
    LEAD_IN = "lead_in"

    @property
    def stage(self) -> Stage:
        """The stage that this activity's time belongs to."""
        if self in (Activity.PROVISIONAL_END, Activity.CONFIRMED_END):
            return Stage.ENDPOINTING
        return Stage(self.value)


PREREQUISITES: dict[Activity, tuple[Activity, ...]] = {
    Activity.FRAMING_IN: (),
    Activity.TRANSPORT_IN: (Activity.FRAMING_IN,),
    Activity.PROVISIONAL_END: (Activity.TRANSPORT_IN,),
    Activity.CONFIRMED_END: (Activity.TRANSPORT_IN,),
    Activity.TRANSCRIPTION: (Activity.PROVISIONAL_END, Activity.CONFIRMED_END),
    Activity.FIRST_TOKEN: (Activity.TRANSCRIPTION, Activity.CONFIRMED_END),
    Activity.FIRST_CLAUSE: (Activity.FIRST_TOKEN,),
    Activity.FIRST_AUDIO: (Activity.FIRST_CLAUSE, Activity.CONFIRMED_END),
    Activity.ENCODING: (Activity.FIRST_AUDIO,),
    Activity.TRANSPORT_OUT: (Activity.ENCODING, Activity.CONFIRMED_END),
    Activity.LEAD_IN: (Activity.TRANSPORT_OUT,),
}
"""The activities that must end before an activity can start. Audio is held until the end of the turn is confirmed, so
the first message waits for its encoding *and* for the confirmation; without speculation both ends are the same moment.
An agent that does not speculate all the way holds work back too: transcription, language model or synthesiser wait for
the confirmation if they started after it although all else that they needed was ready before it."""

SPAN_PREFIX = "turngap."
CALL_SPAN = "turngap.call"
TURN_SPAN = "turngap.turn"
SYNTHESIS_SPAN = "turngap.synthesis"
"""One later clause in the synthesiser; a detail beside the stages."""
CLAUSE_SPAN = "turngap.clause"
"""One clause of a reply: from the first of its messages handed to the socket to the last. Sent at once, while the call
continues, so that a caller who listens for content knows when it has heard some."""

# Files that an agent writes into the folder of its run: docs/profiling.md describes them.
OUTPUT_FOLDER = "TURNGAP_OUTPUT_FOLDER"
"""The variable of the environment in which the instrument names the run's folder; its files lie there."""
HEALTH_LOG, STACK_RING, STACK_NAMES = "health.jsonl", "stacks.ring", "stacks.jsonl"
STAGE_PARTS = "parts.jsonl"
"""Of a measured stage: a line a unit (`unit`) and a line a stretch in one part of it (`part`)."""
TORCH_TRACE, TORCH_CLOCK = "torch.json", "turngap clock "
"""Of a measured stage on torch: what torch's profiler saw of one unit, in Chrome's format; and how its marks are named,
before the monotonic time of each, ns."""
RING_MAGIC = b"TGSTACKS"
RING_HEADER = struct.Struct("<8sQQ")
"""Of the ring of stacks: the magic bytes, how many rows it keeps, and how many were ever written."""
RING_ROW = struct.Struct("<QII")
"""From this monotonic time, ns, on this thread had this stack; their numbers are in STACK_NAMES, and 0 is none."""

# Attributes of every span.
START_NS = "turngap.start_mono_ns"
END_NS = "turngap.end_mono_ns"
CALL_SID = "turngap.call_sid"
TURN = "turngap.turn"
ATTEMPT = "turngap.attempt"

# Attributes of the turn span.
HEARD = "turngap.heard"
"""True if at least one of the attempt's messages was handed to the socket."""
CANCELLED = "turngap.cancelled"
"""True if it was cancelled before any of it was sent; an interrupted reply has HEARD_TEXT."""
TRANSCRIPT = "turngap.transcript"
"""The caller's words in the request to the language model."""
REPLY = "turngap.reply"
"""The text that went to the synthesiser; empty if nothing was heard."""
FIRST_CLAUSE_TEXT = "turngap.first_clause"
PROVISIONAL_NS = "turngap.provisional_mono_ns"
CONFIRMED_NS = "turngap.confirmed_mono_ns"
CONFIRMED_BY = "turngap.confirmed_by"
"""What confirmed the end of the turn: "silence", "smart_turn" or "turn_model" (less silence, as the
turn model asked for), or "limit" (the longest turn)."""
COMPUTE_MS = "turngap.compute_ms"
"""How long speech-to-text, language model and synthesiser worked for the attempt, in total, until their work stopped;
set for every attempt, cancelled ones included."""
SENT_NS = "turngap.first_sent_mono_ns"
"""When the attempt's first message was handed to the socket; the start of transport_out."""
ARRIVAL_FIRST_CHUNK = "turngap.arrival.first_chunk"
ARRIVALS_NS = "turngap.arrival.mono_ns"
"""When each inbound media message was read, from chunk ARRIVAL_FIRST_CHUNK on without a gap, the last 8 s."""
SPANS = "turngap.spans"
"""The number of this attempt's spans, the turn span included: if fewer were received, spans were lost."""
WAITED_MS = "turngap.waited_ms"
"""How long the attempt waited for engines that still worked for a void one; in no stage. Absent if it did not."""
BESIDE_VOID = "turngap.beside_void"
"""True if that wait was given up: an engine worked for a void attempt beside this one."""
ERROR = "turngap.error"
"""Why the attempt produced no reply, in one line; absent if it did. If something was heard, it is an apology."""
FAULT_STAGE = "turngap.fault.stage"
"""With ERROR, where an engine is to blame: "vad", "turn", "stt", "llm" or "tts"."""
FAULT_KIND = "turngap.fault.kind"
"""What it did: "raised", "deadline" (no answer in time), "nothing", "garbage", or "replaced" (out of service)."""
FAULT_DEADLINE_MS = "turngap.fault.deadline_ms"
"""The deadline that it missed."""

# Attributes of the turn span that a language model's server reports for the attempt's request; absent otherwise.
LLM_QUEUE_MS = "turngap.llm.queue_ms"
"""Accepted by the server → scheduled."""
LLM_PREFILL_MS = "turngap.llm.prefill_ms"
"""Scheduled → first token."""
LLM_DECODE_MS = "turngap.llm.decode_ms"
"""First token → last token; of an engine that generates on demand, the time it worked."""
LLM_PROMPT_TOKENS = "turngap.llm.prompt_tokens"
PREFIX_CACHED_TOKENS = "turngap.llm.prefix_cached_tokens"
"""The prompt's tokens that came from the prefix cache."""
PREFIX_ALLOWED_TOKENS = "turngap.llm.prefix_allowed_tokens"
"""The most tokens that may be cached: the shared system prompt, and for a call's later requests its own history. If
more are cached, the cache makes the measurement look better than production."""
PAUSED_NS = "turngap.paused_mono_ns"
"""Each time at which the agent paused in this reply because the caller was heard over it."""
WENT_ON_NS = "turngap.went_on_mono_ns"
"""Each time at which it resumed the reply after a backchannel; one less than PAUSED_NS if it yielded in the end."""
HEARD_TEXT = "turngap.heard_text"
"""For an interrupted reply, even one that was sent whole: its words that the caller heard, "" for none. Absent from all
others."""

# Attributes of a clause span.
CLAUSE_TEXT = "turngap.clause.text"
CLAUSE_FIRST_SAMPLE = "turngap.clause.first_sample"
"""The position of its first sample (8 kHz) in what the attempt sent; sound before the first clause is of none."""
CLAUSE_SAMPLES = "turngap.clause.samples"
"""How many samples were sent for it."""

# Attributes of the call span.
ATTEMPTS = "turngap.attempts"
"""The number of this call's turn spans."""

# Resource attributes.
BOOT_ID = "turngap.boot_id"
"""Monotonic times can be compared only between processes of the same boot of a host."""
ANCHOR_NS = "turngap.anchor_unix_ns"

LAG_GAUGE = "turngap_event_loop_lag_p99_seconds"
"""How late the agent's event loop wakes its sleepers; on its Prometheus page."""

KV_CACHE_GAUGE = "turngap_kv_cache_bytes"
"""Memory that the language model reserves for keys and values; on that page too, label `figure`."""
KV_RESERVED, KV_USED_PEAK = "reserved", "used_at_peak"

# The stages an agent reports as spans of their own, named SPAN_PREFIX + stage.
AGENT_STAGES: tuple[Stage, ...] = (
    Stage.ENDPOINTING,
    Stage.TRANSCRIPTION,
    Stage.FIRST_TOKEN,
    Stage.FIRST_CLAUSE,
    Stage.FIRST_AUDIO,
    Stage.ENCODING,
)
INJECTABLE: tuple[Stage, ...] = (
    Stage.TRANSPORT_IN,
    *AGENT_STAGES,
    Stage.TRANSPORT_OUT,
    Stage.LEAD_IN,
)
"""The stages that `serve --inject STAGE=MS` can delay, to test that the delay appears there and nowhere else."""

MAX_DELAY_MS = 60_000
"""The longest delay that can be injected."""

AttributeValue = str | bool | int | float | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """One span as the agent records it and the instrument reads it back; times on the monotonic clock."""

    name: str
    start_ns: int
    end_ns: int
    call_sid: str
    turn: int
    attempt: int
    attributes: dict[str, AttributeValue] = field(default_factory=dict)

    @property
    def stage(self) -> Stage | None:
        """The stage this span reports, or None for call, turn and detail spans."""
        value = self.name.removeprefix(SPAN_PREFIX)
        return Stage(value) if value in Stage._value2member_map_ else None


def parse_delay(argument: str) -> tuple[Stage, float]:
    """Read an injected delay, `STAGE=MS` as in `transcription=100`; return the stage and the milliseconds.

    Raises:
        UsageError: (`usage.inject`) the stage is not in `INJECTABLE`, or the delay is no number from 0 to
            `MAX_DELAY_MS`.
    """
    name, _, value = argument.partition("=")
    if name not in INJECTABLE:
        from turngap_agent import documents  # brings YAML and pydantic, which processes that only send spans do without

        raise UsageError(
            f"--inject {argument!r}: STAGE=MS is expected, and no stage is called {name!r}"
            f"{documents.list_choices(name, INJECTABLE)}",
            code="usage.inject",
        )
    try:
        delay_ms = float(value)
    except ValueError:
        delay_ms = -1.0
    if not 0 <= delay_ms <= MAX_DELAY_MS:
        raise UsageError(
            f"--inject {argument!r}: expected {name}=MS with 0 to {MAX_DELAY_MS} milliseconds", code="usage.inject"
        )
    return Stage(name), delay_ms


def read_boot_id() -> str:
    """Return the identity of the host's current boot; "" where the system does not state it.

    Monotonic times can be compared only where it is the same.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""
