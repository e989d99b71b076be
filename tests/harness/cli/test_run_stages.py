"""`turngap run --stages`: the engines' documents in the run's folder, for the floors in its report."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from turngap import api
from turngap.cli import run_stages, stage
from turngap.cli.app import execute
from turngap.store.stages import read_stages


def test_an_agent_at_a_url_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Before any call: its engines are not here."""
    assert execute(["run", "smoke", "--url", "ws://127.0.0.1:9/media", "--stages"]) == 3
    assert "--stages: measures the engines of a --profile" in capsys.readouterr().err


def test_documents_are_written_where_the_report_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the run's own profile, changes included; one that was not measured is left out and said to be."""
    asked: list[tuple[str, str]] = []

    def measure(options: stage.StageOptions, profile: dict[str, Any], inputs: object) -> tuple[int, Any]:
        asked.append((options.stage, profile["tts"]["engine"]))
        if options.stage == "llm":
            return 3, None
        return 0, {"stage": options.stage, "profile": profile["name"], "reasons": {"floor_ms": "it has no model"}}

    monkeypatch.setattr(run_stages.stage, "measure", measure)
    monkeypatch.setattr(run_stages.stage, "make_inputs", lambda *_: {})
    monkeypatch.setattr(run_stages.corpus, "build_corpus", lambda *_: SimpleNamespace())
    request = api.make_request("smoke", agent=api.Agent(source="scripted"), out=tmp_path)
    said: list[str] = []
    assert run_stages.measure_stages(request, tmp_path, said.append) == 2
    assert asked == [("stt", "scripted"), ("llm", "scripted"), ("tts", "scripted")]
    found, notes = read_stages(tmp_path, "scripted")
    assert (set(found), notes) == ({"stt", "tts"}, ())
    assert found["tts"].no_floor == "it has no model"
    assert [line for line in said if "was not measured alone" in line] == [
        "turngap: llm was not measured alone (exit code 3): the report has no floor of it"
    ]
