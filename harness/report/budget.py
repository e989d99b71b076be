"""The stage table: measured times beside the hypotheses of the 500 ms budget, line by line. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness import stats
from harness.report.exemplars import gaps, scored
from harness.report.wording import ROLE, STAGE, ms
from harness.result import RunRecord, StageFigures
from harness.turn import TurnRecord
from pipeline.tracing import Stage

TOTAL_MS = 500.0


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One line of the budget under test, and the stages whose exposed time it pays for."""

    name: str
    role: str
    low_ms: float | None
    high_ms: float | None
    stages: tuple[Stage, ...]
    network_model: bool = False
    """Whether the network model's constant belongs to it."""


HYPOTHESES = (
    Hypothesis("Network", "network", 50, 100, (Stage.FRAMING_IN, Stage.TRANSPORT_IN, Stage.TRANSPORT_OUT), True),
    Hypothesis("Endpointing", "endpointing", None, None, (Stage.ENDPOINTING,)),
    Hypothesis("Speech to text", "stt", 100, 150, (Stage.TRANSCRIPTION,)),
    Hypothesis("Language model", "llm", 100, 200, (Stage.FIRST_TOKEN, Stage.FIRST_CLAUSE)),
    Hypothesis("Speech synthesis", "tts", 100, 150, (Stage.FIRST_AUDIO, Stage.LEAD_IN)),
    Hypothesis("Audio conversion", "conversion", 10, 30, (Stage.ENCODING,)),
    Hypothesis("Unexplained", "unexplained", None, None, (Stage.UNEXPLAINED,)),
)
HEADROOM = Hypothesis("Headroom", "muted", 50, 100, ())


@dataclass(frozen=True, slots=True)
class Row:
    """A stage, or a constant, inside a line."""

    name: str
    meaning: str
    figures: StageFigures | None
    constant_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the budget as measured; exposed times are per-turn sums, so they are not the sum of its rows."""

    hypothesis: Hypothesis
    rows: tuple[Row, ...]
    p50_ms: float | None
    p95_ms: float | None
    p95_upper_ms: float | None
    share: float | None
    """Median exposed time over 500 ms."""
    finding: str
    over: bool

    @property
    def expected(self) -> str:
        """The hypothesis in words."""
        low, high = self.hypothesis.low_ms, self.hypothesis.high_ms
        return "no line" if low is None or high is None else f"{low:.0f}–{high:.0f}"


def lines(record: RunRecord, turns: Sequence[TurnRecord]) -> tuple[Line, ...]:
    """The budget's lines, headroom last; empty where no turn has stages."""
    explained = [turn for turn in scored(turns) if turn.stages]
    if not explained:
        return ()
    return (*(_line(item, record, explained) for item in HYPOTHESES), _headroom(turns))


def _line(hypothesis: Hypothesis, record: RunRecord, turns: Sequence[TurnRecord]) -> Line:
    constant = record.network_ms if hypothesis.network_model else 0.0
    sums = [
        constant + sum(turn.stages[s].exposed_ms for s in hypothesis.stages if s in turn.stages)
        for turn in turns
        if turn.stages
    ]
    rows = [Row(*STAGE[stage], record.stages.get(stage)) for stage in hypothesis.stages]
    if hypothesis.network_model:
        rows.insert(0, Row("network model", "what the telephone network adds, stated in the profile", None, constant))
    p50 = stats.percentile(sums, 0.5)
    finding, over = _finding(hypothesis, p50)
    return Line(
        hypothesis,
        tuple(rows) if len(rows) > 1 or hypothesis.name == "Network" else _single(rows),
        p50,
        stats.percentile(sums, 0.95),
        stats.quantile_upper(sums),
        None if p50 is None else p50 / TOTAL_MS,
        finding,
        over,
    )


def _single(rows: list[Row]) -> tuple[Row, ...]:
    return tuple(row for row in rows if row.figures is not None)


def _finding(hypothesis: Hypothesis, p50: float | None) -> tuple[str, bool]:
    low, high = hypothesis.low_ms, hypothesis.high_ms
    if p50 is None:
        return "not measured", False
    if low is None or high is None:
        return ("not in the budget", False) if p50 >= 0.05 else ("none", False)
    if p50 > high:
        return f"over by {ms(p50 - high)} ms", True
    return ("within", False) if p50 >= low else (f"under by {ms(low - p50)} ms", False)


def _headroom(turns: Sequence[TurnRecord]) -> Line:
    values = gaps(scored(turns))
    p50, p95, upper = stats.percentile(values, 0.5), stats.percentile(values, 0.95), stats.quantile_upper(values)
    left = None if p50 is None else TOTAL_MS - p50
    finding = "not known" if left is None else f"{ms(left)} ms left" if left >= 0 else f"over by {ms(-left)} ms"
    return Line(
        HEADROOM,
        (),
        left,
        None if p95 is None else TOTAL_MS - p95,
        None if upper is None else TOTAL_MS - upper,
        None if left is None else left / TOTAL_MS,
        finding,
        left is None or left < 0,
    )


def role(stage: Stage) -> str:
    """The colour of a stage."""
    return ROLE[stage]


@dataclass(frozen=True, slots=True)
class Memory:
    """One line of the memory plan for an A100 with 80 GB, in GB."""

    name: str
    low_gb: float
    high_gb: float


MEMORY_PLAN = (
    Memory("Gemma 3 27B INT4", 14.1, 14.1),
    Memory("KV cache", 20, 30),
    Memory("CSM", 2, 4),
    Memory("Whisper", 2, 5),
    Memory("Silero", 0.05, 0.1),
    Memory("CUDA", 5, 10),
)
MEMORY_TOTAL_GB = (45.0, 65.0)
