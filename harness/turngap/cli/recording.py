"""`turngap recording`: turns, overlaps and silences of finished calls, from their two-channel recordings."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from turngap_agent.errors import UsageError

from turngap.api.recordings import measure_planned
from turngap.api.results import Run
from turngap.cli.run import print_document, print_error, print_report_path
from turngap.model.plural import plural
from turngap.model.recorded import RecordedCall
from turngap.progress import PipeConsole
from turngap.recordings.run import RecordingPlan
from turngap.report.terminal import print_summary


def run(plan: RecordingPlan, *, as_json: bool) -> int:
    """Measure the recordings of a plan, print them, and return the exit code: the verdict's.

    Recordings that could not be opened are lines on stderr, after the results of the others.

    Raises:
        UsageError: none can be scored; a line for each.
    """
    errors, figures = PipeConsole(stderr=True), PipeConsole(stderr=as_json)

    def show(line: str) -> None:
        errors.print(line, highlight=False, markup=False, soft_wrap=True)

    measured, calls = measure_planned(plan, show)
    print_calls(calls, figures)
    print_summary(measured.record, figures)
    codes = [measured.verdict.exit_code, *print_report_path(measured, figures, errors)]
    figures.print(f"run: {measured.path}", highlight=False, markup=False, soft_wrap=True)
    for line in plan.left_out:
        print_error(errors, UsageError(line))
    if as_json:
        print_document(json.dumps(make_document(measured, calls), indent=2))
    return max(codes)


def make_document(measured: Run, calls: tuple[RecordedCall, ...]) -> dict[str, Any]:
    """Return run.json with the whole talk of each call in `recording.calls`, and the turns in `turns`."""
    document = measured.record.model_dump(mode="json")
    document["recording"]["calls"] = [call.model_dump(mode="json") for call in calls]
    document["turns"] = [turn.model_dump(mode="json") for turn in measured.turn_records]
    return document


def format_call(call: RecordedCall) -> list[str]:
    """Return one recording in a few lines."""
    about = f"{call.format}, {call.rate_hz} Hz, {call.length_s:.1f} s"
    if not call.scored:
        return [f"{call.file}: not scored ({about})"]
    greeted = f"the {call.greeted_by} spoke first" if call.greeted_by else "somebody speaks as it begins"
    lines = [
        f"{call.file}: {plural(call.turns, 'scored turn')} ({about}); caller on {call.caller_on}; {greeted}",
        f"  overlap    {call.talk_over_s:.1f} s; the agent yielded {call.agent_yields} and held {call.agent_holds} "
        f"times, the caller {call.caller_yields} and {call.caller_holds}",
        f"  listening  {plural(call.caller_backchannels, 'backchannel')} of the caller, "
        f"{call.agent_backchannels} of the agent",
    ]
    lines += [
        f"  cross-talk on the {leak.heard_on}'s channel: {leak.attenuation_db:.0f} dB weaker, {leak.delay_ms:.1f} ms on"
        for leak in call.cross_talk
    ]
    lines += [
        f"  dead air   {each.length_s:.1f} s at {each.from_s:.1f} s, after the {each.after}" for each in call.dead_air
    ]
    return lines


def print_calls(calls: tuple[RecordedCall, ...], console: Console) -> None:
    """Print what was found in each recording."""
    for call in calls:
        for line in format_call(call):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
