"""The record of a run: evidence for the verdict, resume state, caveats."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from turngap import api
from turngap.clock import FakeClock
from turngap.model.result import WEIGHTLESS, ResumeState, caveat
from turngap.model.turn import Outcome
from turngap.session import plan, run_record
from turngap.session.request import Options
from turngap.session.run_record import Progress
from turngap.session.scoring_process import ScoredCall
from turngap.store import folder as store
from turngap.store.folder import RunFolder

from tests.harness import report_builders as builders


@pytest.mark.parametrize(
    ("profile", "beyond", "flattered", "cached"),
    [
        ("scripted", (None, None), None, False),
        ("cpu", (None, 0), 0, True),
        ("weightless", (None, None), None, True),
        ("weightless", (None, 0), 0, True),
        ("weightless", (3, 0), 1, True),
    ],
)
def test_unknown_is_not_none(
    tmp_path: Path, profile: str, beyond: tuple[int | None, ...], flattered: int | None, cached: bool
) -> None:
    """What the prefix cache served is known where a turn tells; which profiles have one to tell of is known anyway."""
    folder = RunFolder.create(tmp_path, "run", builders.run_record([]))
    turns = [builders.turn(n, prefix_beyond_tokens=tokens) for n, tokens in enumerate(beyond)]
    evidence = run_record.collect_evidence(plan.plan_run("default", profile=profile), folder, Progress(turns=turns))
    assert (evidence.prefix_flattered, evidence.prefix_cached) == (flattered, cached)


def test_the_memory_that_is_judged_is_that_of_the_agents_gpu(tmp_path: Path) -> None:
    """What another card of the machine held in `gpu.csv` does not count; without the agent's report it is unknown."""
    folder = RunFolder.create(tmp_path, "run", builders.run_record([]))
    (folder.path / store.GPU).write_text("at_s,gpu,used_mib\n1.000,1,70000.000\n")
    for peak_mib in (None, 900.0):
        evidence = run_record.collect_evidence(
            plan.plan_run("default", profile="cpu"), folder, Progress(vram_peak_mib=peak_mib)
        )
        assert evidence.vram_peak_mib == peak_mib


def test_a_call_counts_for_the_cost_if_it_had_turns_to_score() -> None:
    """Its length is that of its frames, 20 ms each; a warm-up call and a turn that was not answered add no turn."""
    progress, frames = Progress(), np.zeros(500)
    progress.add(ScoredCall((builders.turn(0), builders.turn(1, outcome=Outcome.MISSED)), frames, frames))
    progress.add(ScoredCall((builders.turn(2, warm_up=True, scored=False),), frames, frames))
    assert (progress.call_s, progress.answered) == (10.0, 1)


def test_a_killed_run_on_random_weights_says_so_too(tmp_path: Path) -> None:
    """Its profile by name and the caveat, when it is judged from the turns it has, and while it had not ended."""
    turns = builders.turns(3)
    data = {"name": "weightless-hf", "weightless": True, "llm": {"engine": "gemma"}}
    record = builders.run_record(turns, complete=False, validity=(), profile="weightless-hf", profile_data=data)
    folder = RunFolder.create(tmp_path, "run", record)
    folder.append(turns)
    page = api.load(folder.path).report()
    sentence = store.read_run(folder.path).record.sentence
    bf16 = caveat(data)
    assert bf16 is not None
    assert bf16.endswith("of bf16 on torch: neither FAIL nor PASS is conclusive for W4A16 on vLLM.")
    assert sentence.endswith(f" Profile weightless-hf. {bf16}")
    assert "timing and memory only" in page.read_text()
    opened = run_record.initial_record(plan.plan_run("default", profile="weightless-tiny"), {}, ResumeState(), 0)
    assert opened.sentence.endswith(f" Profile weightless-tiny. {bf16}")
    vllm = run_record.initial_record(plan.plan_run("default", profile="weightless"), {}, ResumeState(), 0)
    assert vllm.sentence.endswith("eager decoding in speech-to-text: FAIL is not conclusive for CTranslate2.")
    assert caveat({"weightless": True, "stt": {"engine": "whisper", "decoder": "static"}}) == WEIGHTLESS
    assert run_record.with_caveat("Fine.", {"name": "cpu"}) == "Fine."


def test_the_resume_state_has_a_field_of_its_own(tmp_path: Path) -> None:
    """It is read back as it was; `environment` still has it for readers of older runs."""
    options = Options(inject=("encoding=100",), agent_nice=3)
    request = plan.plan_run("default", profile="scripted", options=options)
    record = asyncio.run(run_record.new_record(request, FakeClock()))
    folder = RunFolder.create(tmp_path, "run", record)
    state = store.read_run(folder.path).record.resume_state
    assert state == ResumeState(inject=("encoding=100",), agent_nice=3, live=False)
    assert (record.environment["inject"], record.environment["agent_nice"]) == (["encoding=100"], 3)
    live = asyncio.run(run_record.new_record(request, FakeClock(), live=True))
    assert (live.resume_state.live, live.environment["live"]) == (True, True)


@pytest.mark.parametrize(
    ("environment", "state"),
    [
        ({}, ResumeState()),
        ({"inject": ["encoding=100"], "agent_nice": 3}, ResumeState(inject=("encoding=100",), agent_nice=3)),
        ({"live": True}, ResumeState(live=True)),
    ],
)
def test_an_older_run_has_its_resume_state_in_its_environment(
    tmp_path: Path, environment: dict[str, object], state: ResumeState
) -> None:
    """Its `run.json` has no field for it, and gets none when it is written again."""
    folder = RunFolder.create(tmp_path, "run", builders.run_record([], environment=environment))
    assert "resume" not in json.loads((folder.path / store.RUN).read_text())
    assert store.read_run(folder.path).record.resume_state == state
