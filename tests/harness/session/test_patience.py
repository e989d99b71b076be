"""Whole runs with callers who pause, and with calls of random depth: what an agent without patience is worth."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from turngap import scenario
from turngap.model.turn import Outcome, TurnRecord
from turngap.processes import child
from turngap.scenario import Scenario, load_scenario_file
from turngap.store import folder as store
from turngap.store.folder import StoredRun

from tests.harness.tones import SCRIPTED

RATE = 8000
PATIENCE_S = 280
NO_PATIENCE = ("--set", "endpointing.min_silence_ms=192")
"""The agent takes 192 ms of silence for the end of the turn."""
LONG_MS = 700
"""From this length on a pause outlasts what the scripted agent does before it speaks."""
SHIPPED = Path(__file__).parents[3] / "scenarios"


def write_tones(folder: Path, name: str, *lengths_ms: int) -> None:
    """Write a recording: tone, silence, tone, ...; an agent with an energy detector takes tones for speech."""
    parts = []
    for index, ms in enumerate(lengths_ms):
        seconds = np.arange(ms * RATE // 1000) / RATE
        parts.append(0.2 * np.sin(2 * np.pi * 230 * seconds) * (index % 2 == 0))
    parts.append(np.zeros(RATE // 5))  # a recording that ends with its sound has no known end
    soundfile.write(folder / f"{name}.wav", np.concatenate(parts), RATE, subtype="PCM_16")


def run_scenario(folder: Path, file: Path, *arguments: str) -> StoredRun:
    """Run the scripted agent on it, through its server."""
    command = child.python_command("turngap", "run", str(file), *SCRIPTED, *arguments, "--out", str(folder / "results"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode in (0, 2), done.stderr
    (run,) = (folder / "results").glob("*-scripted")
    return store.read_run(run)


def outcomes(turns: list[TurnRecord]) -> set[Outcome]:
    """Apart from turns in which our own caller was late, or the agent's next piece, on a busy machine."""
    return {turn.outcome for turn in turns} - {Outcome.INVALID, Outcome.BROKEN}


def test_without_patience_whoever_pauses_is_cut_off(tmp_path: Path) -> None:
    """192 ms of silence end a turn: a pause inside a recording that outlasts the agent's work is spoken into.

    Lead-ins before the scored turn are recorded, and in no figure.
    """
    for index in range(3):
        write_tones(tmp_path, f"plain{index}", 600 + 100 * index)
        write_tones(tmp_path, f"pause{index}", 500, 700 + 100 * index, 600)
        write_tones(tmp_path, f"lead{index}", 500 + 50 * index)
    lines = ["name: paused", "probe: true", "warm_up_turns: 1", "depth: {1: 1, 2: 1, 3: 1}", "lead_ins:"]
    lines += [f"  - {{audio: lead{index}.wav, expect: scripted words, pause_ms: 100}}" for index in range(3)]
    lines.append("turns:")
    for kind, stratum in (("plain", "sentence"), ("pause", "pause")):
        for index in range(3):
            name = f"id: {kind}{index}, audio: {kind}{index}.wav, stratum: {stratum}"
            lines.append(f"  - {{{name}, expect: scripted words, pause_ms: 100}}")
    file = tmp_path / "paused.scenario.yaml"
    file.write_text("\n".join(lines) + "\n")
    run = run_scenario(tmp_path, file, *NO_PATIENCE)
    scored = [turn for turn in run.turns if turn.scored]
    paused = [turn for turn in scored if turn.stratum == "pause"]
    assert [round(turn.pause_ms, -1) for turn in sorted(paused, key=lambda turn: turn.utterance_id)] == [700, 800, 900]
    assert outcomes(paused) == {Outcome.CUT_OFF}
    assert outcomes([turn for turn in scored if turn.stratum == "sentence"]) == {Outcome.ANSWERED}
    assert run.record.strata["pause"].cut_off_rate.events >= 2
    assert run.record.strata["sentence"].cut_off_rate.events == 0
    leads = [turn for turn in run.turns if turn.lead_in]
    assert (run.record.planned_turns, run.record.n_turns, len(leads)) == (6, 6, 2 * 1 + 2 * 2)
    assert run.record.corpus.distinct_utterances == 6
    assert sorted(turn.turn for turn in scored) == [0, 0, 1, 1, 2, 2]
    assert sum(group.turn_gap_ms.n for group in run.record.depths.values()) == run.record.turn_gap_ms.n


@pytest.mark.engines
def test_the_gates_pauses_are_not_survived_without_patience(tmp_path: Path) -> None:
    """Recorded callers of the gate who pause for longer than the agent's work takes: 192 ms of silence cut them off."""
    gate = load_scenario_file(SHIPPED / f"gate{scenario.SUFFIX}")
    paused = [turn for turn in gate.turns if turn.stratum == "pause" and max(turn.all_gaps_ms or (0,)) >= LONG_MS]
    chosen = paused[:3]
    file = tmp_path / "gate-pauses.scenario.yaml"
    made = Scenario(name="gate-pauses", probe=True, warm_up_turns=1, turns=tuple(chosen))
    file.write_text(made.model_dump_json(exclude_defaults=True))
    run = run_scenario(tmp_path, file, *NO_PATIENCE)
    scored = [turn for turn in run.turns if turn.scored]
    assert len(scored) == len(chosen) == 3
    assert outcomes(scored) == {Outcome.CUT_OFF}
