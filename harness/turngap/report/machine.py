"""The report's section "Where the time and the memory go": floors, memory, standstills, energy, traces."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from turngap.model.health import TraceFile
from turngap.model.result import RunRecord
from turngap.model.stage_document import StageDocument
from turngap.model.turn import TurnRecord
from turngap.report import floors, held_up
from turngap.report.floors import FloorRow
from turngap.report.wording import ACTIVITY, ms
from turngap.verdict import summary

STAGES = ("stt", "llm", "tts")


@dataclass(frozen=True, slots=True)
class TraceLink:
    """A trace of a turn, beside the report."""

    words: str
    href: str
    path: str


@dataclass(frozen=True, slots=True)
class MachineSection:
    """What the section shows; each part may be empty."""

    floors: tuple[FloorRow, ...]
    without_floor: tuple[tuple[str, str], ...]
    """Stage and why it has none."""
    first: str
    """What to change first by the floors, in a sentence."""
    commands: tuple[str, ...]
    """Where no floor is known: how to get them."""
    memory: tuple[StageDocument, ...]
    """The stages whose memory was measured alone."""
    held: str
    held_turns: tuple[tuple[int, TurnRecord, str], ...]
    not_readable: tuple[tuple[str, str], ...]
    energy: tuple[tuple[str, str], ...]
    traces: tuple[TraceLink, ...]


def make_machine_section(
    record: RunRecord,
    turns: Sequence[TurnRecord],
    stages: Mapping[str, StageDocument],
    folder: Path,
    report_folder: Path | None,
) -> MachineSection | None:
    """Return the section; None where nothing of it is known nor can be got: a recording, an agent at a URL.

    `report_folder` is where the report is written, so that it links to the traces; None: it names them only.
    """
    if record.recording is not None or (not record.profile_data and record.health is None and not record.traces):
        return None
    valid = summary.valid_turns(turns)
    rows = floors.list_floors(stages, valid)
    return MachineSection(
        floors=rows,
        without_floor=tuple((stage, each.no_floor) for stage, each in stages.items() if each.no_floor),
        first=describe_first(rows, floors.compute_gain_of_all_floors(stages, valid)),
        commands=_commands(record, folder) if not stages and record.profile_data else (),
        memory=tuple(each for each in stages.values() if each.memory_mib.steady is not None),
        held=_as_sentence(held_up.summarise(record.health)),
        held_turns=held_up.list_held_turns(turns),
        not_readable=_not_readable(record),
        energy=held_up.format_energy_parts(record.energy),
        traces=tuple(_link(trace, turns, folder, report_folder) for trace in record.traces),
    )


def describe_first(rows: Sequence[FloorRow], all_ms: tuple[float, float] | None) -> str:
    """Return which stage to bring nearer to its floor, and what that could give at most; "" without floors.

    The stage is the one that gives most at p95: not the farthest from its floor, and not the longest.
    """
    if not rows or all_ms is None:
        return ""
    best = max(rows, key=lambda row: (row.p95_ms, row.p50_ms))
    if best.p95_ms < 1.0:
        return (
            "No stage at its floor would make p95 shorter by 1 ms, and all together by "
            f"{ms(all_ms[1])} ms: what is slow is not the engines' work"
        )
    return (
        f"Of the engines' work change {ACTIVITY[best.activity]} first: {best.distance:.1f} times what its bytes and "
        f"operations need on this machine. At its floor p95 would be at most {ms(best.p95_ms)} ms shorter, the median "
        f"{ms(best.p50_ms)} ms; with all stages of this table at their floors {ms(all_ms[1])} and {ms(all_ms[0])} ms"
    )


def _as_sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _not_readable(record: RunRecord) -> tuple[tuple[str, str], ...]:
    """Return what the machine does not tell of the process; its energy is said where energy is shown."""
    if record.health is None:
        return ()
    said = record.energy.not_readable if record.energy is not None else {}
    return tuple((what, why) for what, why in record.health.not_readable.items() if what not in said)


def _commands(record: RunRecord, folder: Path) -> tuple[str, ...]:
    stages = folder / "stages"
    profile = shlex.quote(record.profile)
    return (
        shlex.join(["mkdir", "-p", str(stages)]),
        *(
            f"turngap stage {stage} --profile {profile} --json > {shlex.quote(str(stages / f'{stage}.json'))}"
            for stage in STAGES
        ),
        shlex.join(["turngap", "report", str(folder)]),
    )


def _link(trace: TraceFile, turns: Sequence[TurnRecord], folder: Path, report_folder: Path | None) -> TraceLink:
    turn = next((turn for turn in turns if (turn.call, turn.turn) == (trace.call, trace.turn)), None)
    words = f"call {trace.call}, turn {trace.turn}"
    if turn is not None:
        words += (
            f": {turn.utterance_id}, {ms(turn.turn_gap_ms)} ms"
            if turn.turn_gap_ms is not None
            else f": {turn.utterance_id}"
        )
    path = folder / trace.file
    href = ""
    if report_folder is not None:
        href = quote(os.path.relpath(path.absolute(), report_folder.absolute()).replace(os.sep, "/"))
    return TraceLink(words, href, trace.file)
