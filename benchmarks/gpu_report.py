"""The report on a GPU as Markdown, rendered from the result; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.gpu_steps import GAP

STAGE_COLUMNS = ("stage", "first output p50, ms", "floor, ms", "times the floor", "")


def markdown(result: Mapping[str, Any]) -> str:
    """Return the report: steps, turn gap and stages, CSM, memory, and what was not measured."""
    steps = {step["name"]: step for step in result["steps"]}
    figures = {name: step["figures"] for name, step in steps.items() if step["figures"]}
    lines = [f"# {result['card']}", "", f"{result['caveat'][0].upper()}{result['caveat'][1:]}.", ""]
    lines += _table(("step", "outcome", "seconds", ""), [_step_row(step) for step in steps.values()])
    lines += [f"\n{step['name']}: {'; '.join(step['notes'])}." for step in steps.values() if step.get("notes")]
    if "turns" in figures:
        lines += _turns_section(figures["turns"])
    if "stages" in figures:
        lines += [
            "",
            "## Stages alone",
            "",
            *_table(STAGE_COLUMNS, [_stage_row(*one) for one in figures["stages"].items()]),
        ]
    if "csm" in figures:
        lines += _csm_section(figures["csm"])
    if "memory" in figures:
        rows = [(name, f"{value:,.0f}") for name, value in figures["memory"]["memory_mib"].items()]
        lines += ["", "## Memory", "", *_table(("held by", "MiB"), rows)]
    lines += ["", "## Machine", "", *_table(("", ""), [(key, str(value)) for key, value in result["machine"].items()])]
    return "\n".join(lines) + "\n"


def _stage_row(stage: str, document: Mapping[str, Any]) -> tuple[str, ...]:
    if "error" in document:
        return stage, "–", "–", "–", document["error"]
    first, floor, distance = document["first_output_ms"], document["floor_ms"], document["distance_to_floor"]
    numbers = (_figure(first["p50"], 1), _figure(floor, 2), _figure(distance, 1))
    return stage, *numbers, document["engine"]


def _step_row(step: Mapping[str, Any]) -> tuple[str, ...]:
    return step["name"], step["outcome"], f"{step['took_s']:.0f}", step["text"]


def _turns_section(record: Mapping[str, Any]) -> list[str]:
    gaps = [
        (name, *(_ms(record[key][figure]) for figure, _ in GAP))
        for key, name in (("turn_gap_ms", "turn gap"), ("perceived_gap_ms", "perceived gap"))
    ]
    stages = [(name, _ms(each["p50_ms"]), _ms(each["p95_ms"])) for name, each in record["stages"].items()]
    models = [(name, text) for name, text in record["agent"]["models"].items()]
    return [
        *("", f"## Turns: profile `{record['profile']}`", "", record["sentence"], ""),
        *_table(("ms", *(words for _, words in GAP)), gaps),
        *("", *_table(("stage, ms", "p50", "p95"), stages)),
        *("", *_table(("engine", ""), models)),
        *("", *(f"- {note}" for note in record["notes"])),
    ]


def _csm_section(result: Mapping[str, Any]) -> list[str]:
    verdict = result.get("verdict")
    rows = []
    if verdict is not None:
        rows = [
            ("mode", verdict["mode"]),
            ("first audio of a turn, context prepared, at p95, ms", _figure(verdict["turn_first_audio_p95_ms"], 1)),
            ("a frame of 80 ms at p95, ms", _figure(verdict["frame_p95_ms"], 2)),
            ("times faster than transformers' generate", _figure(verdict["times_faster_than_transformers"], 1)),
            *((f"codec against eager: {mode}", _db(ratio)) for mode, ratio in verdict["codec_db"].items()),
        ]
    rows += [(f"{part}: not measured", why) for part, why in result["failed"].items()]
    return ["", f"## CSM-1B: `{result['file']}`", "", *_table(("", ""), rows)]


def _figure(value: float | None, digits: int) -> str:
    return "not measured" if value is None else f"{value:.{digits}f}"


def _db(ratio: float | None) -> str:
    return "equal" if ratio is None else f"{ratio:.0f} dB"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(_cells(row))} |" for row in (head, ("---",) * len(head), *rows)]


def _cells(row: tuple[str, ...]) -> list[str]:
    return [cell.replace("|", "\\|").replace("\n", " ") for cell in row]


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"
