"""A whole run of `weightless-tiny`: real work through every stage, and nothing claimed of what was understood."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from turngap.model.result import caveat
from turngap.model.turn import Outcome
from turngap.store import folder as store
from turngap_agent.tracing import Stage

pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

SCENARIO = """
name: two
warm_up_turns: 1
turns:
- {id: first, prompt: vm-nonumber}
- {id: second, prompt: something-terribly-wrong}
"""


@pytest.mark.engines
def test_weightless_tiny_end_to_end(tmp_path: Path) -> None:
    """Gap and stages of every turn, no word error rate, and the caveat in result and report."""
    scenario = tmp_path / "two.scenario.yaml"
    scenario.write_text(SCENARIO)
    command = [sys.executable, "-m", "turngap", "run", str(scenario), "--profile", "weightless-tiny"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*command, "--out", str(tmp_path), "--json"], env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode in (0, 2), done.stderr  # 2: the machine made the instrument late
    printed = json.loads(done.stdout)
    assert printed["wer"] is None
    assert printed["sentence"].endswith(str(caveat({"weightless": True, "llm": {"engine": "gemma"}})))
    assert any("the work of each turn is fixed by the scenario" in note for note in printed["notes"])
    run = store.read_run(tmp_path / printed["run_id"])
    assert "weightless-tiny" in printed["run_id"]
    for turn in run.turns:
        # Speech slower than real time is a CPU's; what is looked at here is the path, never its speed.
        assert turn.outcome in (Outcome.ANSWERED, Outcome.BROKEN, Outcome.INVALID), turn.detail
        assert turn.transcript is None
        assert turn.stages is not None
        assert turn.stages[Stage.TRANSCRIPTION].duration_ms > 0
        assert turn.stages[Stage.FIRST_AUDIO].duration_ms > 0
    report = (tmp_path / printed["run_id"] / "report.html").read_text()
    assert "timing and memory only" in report
    assert "resident memory" in report.lower()
    assert printed["agent"]["rss_mib"] > 0
