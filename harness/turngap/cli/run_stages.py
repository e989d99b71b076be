"""`turngap run --stages`: measures a run's engines alone after its calls, for the floors in its report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from turngap_agent.errors import AgentError, UsageError

from turngap.cli import stage
from turngap.corpus import clips as corpus
from turngap.report.machine import STAGES
from turngap.session.request import Request
from turngap.store import disk
from turngap.store import stages as store

REPEATS = 6
"""Units of each engine, back to back: the least with which a median has an interval, and one for another input."""


def check_request(request: Request) -> None:
    """Check that the engines of a run can be measured, before its calls.

    Raises:
        UsageError: its agent runs at a URL.
    """
    if request.profile is None:
        raise UsageError("--stages: measures the engines of a --profile; those of an agent at a --url are not here")


def measure_stages(request: Request, folder: Path, show: Callable[[str], None]) -> int:
    """Measure the engines one after the other, and write their documents into the run's folder; return how many.

    One that cannot be measured (its process has printed why) is left out, and said to be.

    Raises:
        HarnessError: a document can't be written.
    """
    assert request.profile is not None
    clips = corpus.build_corpus(request.scenario, lambda line: show(f"turngap: {line}"))
    inputs = stage.make_inputs(clips, request.profile, REPEATS)
    written = 0
    for name in STAGES:
        show(f"turngap: measuring {name} alone, {REPEATS} units")
        options = stage.StageRequest(name, busy=True, repeats=REPEATS)
        try:
            code, document = stage.measure(options, request.profile_data, inputs)
        except AgentError as error:
            code, document = error.exit_code, None
            show(f"turngap: {error}")
        if document is None:
            show(f"turngap: {name} was not measured alone (exit code {code}): the report has no floor of it")
            continue
        document["scenario"] = request.scenario.name
        (folder / store.STAGES).mkdir(exist_ok=True)
        disk.replace_file(folder / store.STAGES / f"{name}.json", json.dumps(document, indent=2) + "\n")
        written += 1
    return written
