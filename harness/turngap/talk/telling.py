"""What a person is told after each turn of theirs: how long they waited, for what, and what was understood."""

from __future__ import annotations

from turngap_agent.tracing import Stage

from turngap.model.turn import TurnRecord

LATE_MS = 5.0
_WORDS = {stage: stage.value.replace("_", " ") for stage in Stage}


def told(number: int, turn: TurnRecord, output_latency_ms: float) -> list[str]:
    """One turn, counted from 1, in a few lines."""
    if turn.turn_gap_ms is None:
        return [f"turn {number}: {turn.outcome.value}{f' ({turn.detail})' if turn.detail else ''}"]
    sure = f"end of your speech estimated, {turn.label_high_ms:+.0f} to {turn.label_low_ms:+.0f} ms"
    lines = [f"turn {number}: the agent answered after {turn.turn_gap_ms:.0f} ms ({sure})"]
    if turn.stages:
        exposed = [(stage, turn.stages[stage].exposed_ms) for stage in Stage if stage in turn.stages]
        shown = [f"{_WORDS[stage]} {ms:.0f}" for stage, ms in exposed if round(ms)]
        lines.append(f"  waited for: {' · '.join(shown)} ms")
    else:
        lines.append(f"  no stages: {turn.stages_note}")
    if turn.lateness_send_ms > LATE_MS:
        lines.append(f"  up to {turn.lateness_send_ms:.0f} ms of it in this computer's sound input")
    if output_latency_ms:
        lines.append(f"  the loudspeaker adds {output_latency_ms:.0f} ms, as it says itself")
    if turn.transcript is not None:
        lines.append(f"  understood “{turn.transcript}”" + (f", said “{turn.reply}”" if turn.reply else ""))
    return lines
