"""The API: what is documented is what is there, its examples run, and importing it costs nothing."""

from __future__ import annotations

import asyncio
import builtins
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import turngap
from turngap import api
from turngap.model.turn import Outcome
from turngap.session import preparation
from turngap.session.request import Options, Request
from turngap.store import folder as store
from turngap.store.folder import RunFolder
from turngap.sweeps import grid
from turngap.sweeps import plan as sweep_plan
from turngap_agent import errors
from turngap_agent.errors import RunFolderError, UsageError, WeightsError

from tests.harness import report_builders as builders
from tests.harness.tones import scenario_of_tones

PAGE = Path(__file__).resolve().parents[3] / "docs" / "api.md"
EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def store_run(out: Path, name: str = "run", *, scale: float = 1.0, **changes: object) -> Path:
    """The folder of a finished run of 20 turns."""
    turns = builders.turns(20, scale=scale)
    folder = RunFolder.create(out, name, builders.run_record(turns, **changes))
    folder.append(turns)
    return folder.path


def test_what_is_exported_is_what_is_documented() -> None:
    """`__all__` and docs/api.md name the same things, in both directions, and each of them is there."""
    text = PAGE.read_text("utf-8")
    quoted = re.findall(r"`([^`\n]+)`", text)
    attributes = set(re.findall(r"\bturngap\.(\w+)", " ".join([*quoted, *EXAMPLE.findall(text)])))
    types = {name for name in quoted if re.fullmatch(r"[A-Z][A-Za-z]+", name)}
    verdicts = {verdict.value for verdict in turngap.Verdict}
    assert sorted((attributes | types) - verdicts - set(dir(builtins))) == sorted(turngap.__all__)
    assert sorted(turngap.__all__) == list(turngap.__all__)
    for name in turngap.__all__:
        assert getattr(turngap, name) is not None
    assert set(turngap.__all__) <= set(dir(turngap))
    with pytest.raises(AttributeError, match="'nothing'"):
        turngap.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, against the scripted agent."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for example in EXAMPLE.findall(PAGE.read_text("utf-8")):
        try:
            exec(compile(example, str(PAGE), "exec"), names)
        except RunFolderError as error:
            # A busy machine may spoil every turn of a run, and then there is nothing to compare.
            if error.code != "run-folder.no-answers":
                raise
    run = names["run"]
    assert isinstance(run, turngap.Run)
    assert run.record.n_turns == 2
    assert (run.path / store.SCENARIO).is_file()
    assert (tmp_path / "reports" / f"{run.id}.html").is_file()
    assert str(run.path.resolve()).startswith(str(tmp_path))


def test_importing_the_package_imports_nothing_else() -> None:
    """A foreign program, and `turngap --version`, pay for what they use."""
    script = (
        "import sys; before = set(sys.modules); import turngap; turngap.__all__\n"
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['turngap']"


def test_a_run_is_read_by_folder_or_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown one is named, with where it was looked up."""
    path = store_run(tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    assert turngap.load("run").path == Path("results/run")
    assert turngap.load(path).id == "run"
    with pytest.raises(RunFolderError, match=r"^nope: .*results/nope") as error:
        turngap.load("nope")
    assert error.value.code == "run-folder.unknown"


def test_the_frames_of_a_run_have_units_in_their_columns(tmp_path: Path) -> None:
    """Turns, stages and summary; every column of times is a number, and unknown is NaN."""
    run = turngap.load(store_run(tmp_path))
    assert len(run.turns) == 20
    assert run.turns.turn_gap_ms.dtype == float
    assert run.turns.barge_in_stop_ms.isna().all()
    turn = run.turn_records[0]
    assert turn.stages is not None
    for stage, time in turn.stages.items():
        assert run.turns.loc[0, f"{stage}_exposed_ms"] == time.exposed_ms
    assert run.summary.loc["turn_gap", "p50_ms"] == run.record.turn_gap_ms.p50
    assert pd.isna(run.summary.loc["turn_gap", "p95_upper_ms"])
    assert run.summary.loc["turn_gap", "turns"] == 20
    assert run.stages.loc["transcription", "exposed_p50_ms"] == run.record.stages["transcription"].exposed_p50_ms  # type: ignore[index]
    for frame in (run.summary, run.stages):
        assert all(column == "turns" or column.endswith("_ms") for column in frame.columns)


def test_a_run_without_turns_has_empty_frames(tmp_path: Path) -> None:
    """An interrupted run, say."""
    folder = RunFolder.create(tmp_path, "run", builders.run_record([]))
    run = turngap.load(folder.path)
    assert (len(run.turns), len(run.stages)) == (0, 0)
    assert run.summary.turns.tolist() == [0, 0, 0, 0]


def test_a_run_shows_itself(tmp_path: Path) -> None:
    """In one line, and in a notebook with its figures; what a run says is escaped."""
    run = turngap.load(store_run(tmp_path, sentence="a <b> sentence", reasons=("one & two",)))
    assert repr(run) == f"<Run run: {run.verdict}: a <b> sentence>"
    html = run._repr_html_()
    assert "a &lt;b&gt; sentence" in html
    assert "one &amp; two" in html
    assert "<th>turn_gap</th>" in html


def test_two_runs_are_compared(tmp_path: Path) -> None:
    """As a frame, in a notebook, and as the command's JSON."""
    head, base = store_run(tmp_path, "head", scale=1.5), store_run(tmp_path, "base")
    comparison = turngap.compare(head, turngap.load(base))
    assert comparison.table.loc["turn_gap", "change"] == "slower"
    assert comparison.table.loc["turn_gap", "change_ms"] > 100
    assert comparison.to_json()["head"] == "head"
    assert "slower" in comparison._repr_html_()


def test_runs_without_answers_are_not_compared(tmp_path: Path) -> None:
    """An empty table would say nothing; the message names the run."""
    base = store_run(tmp_path, "base")
    turns = [builders.turn(index, outcome=Outcome.MISSED) for index in range(3)]
    silent = RunFolder.create(tmp_path, "silent", builders.run_record(turns))
    silent.append(turns)
    for pair in ((silent.path, base), (base, silent.path)):
        with pytest.raises(RunFolderError, match=f"no answered turns in {silent.path}") as error:
            turngap.compare(*pair)
        assert error.value.code == "run-folder.no-answers"


def test_blocking_functions_are_refused_in_an_event_loop(tmp_path: Path) -> None:
    """A notebook has one: the message names what to use there."""

    async def call() -> None:
        turngap.run(scenario_of_tones(tmp_path, 1), agent="scripted")

    with pytest.raises(UsageError, match=r"await turngap\.arun"):
        asyncio.run(call())


def test_an_agent_is_a_profile_or_a_url(tmp_path: Path) -> None:
    """Mappings become the overrides of the command line."""
    changed = turngap.Agent.profile("scripted", set={"limits.simultaneous_calls": 3}, inject={"encoding": 20.0}, nice=2)
    request = api.make_request(scenario_of_tones(tmp_path, 1), agent=changed)
    assert request.profile is not None
    assert request.profile.limits.simultaneous_calls == 3
    assert (request.options.inject, request.options.agent_nice) == (("encoding=20",), 2)
    url = api.make_request(scenario_of_tones(tmp_path, 1), agent=turngap.Agent.url("ws://127.0.0.1:1/", otlp_port=4318))
    assert (url.profile, url.url, url.options.otlp_port) == (None, "ws://127.0.0.1:1/", 4318)


def test_injected_delays_keep_their_digits(tmp_path: Path) -> None:
    """A whole number has no decimal point, as on the command line."""
    agent = turngap.Agent.profile("scripted", inject={"encoding": 12345.67, "transcription": 20.0, "first_token": 5})
    assert agent.inject == ("encoding=12345.67", "transcription=20", "first_token=5")


def test_a_path_is_a_value_of_a_profile(tmp_path: Path) -> None:
    """As its text."""
    assert turngap.Agent.profile("scripted", set={"stt.model": Path("a/b")}).overrides == ('stt.model="a/b"',)


def test_a_single_value_is_no_list_of_its_characters(tmp_path: Path) -> None:
    """Refused with the argument's name, before anything starts."""
    scenario = scenario_of_tones(tmp_path, 1)
    calls: list[tuple[str, Callable[[], object]]] = [
        ("set", lambda: turngap.Agent.profile("scripted", set="llm.max_tokens=9")),
        ("inject", lambda: turngap.Agent.profile("scripted", inject="encoding=9")),
        ("networks", lambda: api.make_request(scenario, agent="scripted", networks="clean")),
        ("networks", lambda: api.make_request(scenario, agent="scripted", networks=Path("clean"))),  # type: ignore[arg-type]
        ("set", lambda: turngap.sweep(scenario, profile="scripted", set="stt.delay_ms=1,2")),
        ("set['stt.model']", lambda: turngap.sweep(scenario, profile="scripted", set={"stt.model": "abc"})),
        ("set['a.b']", lambda: turngap.sweep(scenario, profile="scripted", set={"a.b": 5})),  # type: ignore[dict-item]
        ("steps['one']", lambda: turngap.sweep(scenario, profile="scripted", steps={"one": "stt.delay_ms=1"})),
        ("steps['']", lambda: turngap.sweep(scenario, profile="scripted", steps={"": {}})),
    ]
    for argument, call in calls:
        with pytest.raises(UsageError, match=f"^{re.escape(argument)}: "):
            call()


@pytest.mark.parametrize(
    ("arguments", "options"),
    [({"seed": -1}, {}), ({}, {"otlp_port": 65_536}), ({}, {"otlp_port": -1}), ({}, {"nice": 20}), ({}, {"nice": -1})],
)
def test_numbers_have_the_bounds_of_the_command_line(
    arguments: dict[str, Any], options: dict[str, Any], tmp_path: Path
) -> None:
    """The message names the argument and its value."""
    ((name, value),) = (arguments | options).items()
    agent = turngap.Agent.profile("scripted", **options)
    with pytest.raises(UsageError, match=f"^{name} {value}: "):
        api.make_request(scenario_of_tones(tmp_path, 1), agent=agent, **arguments)


def interrupted_run(tmp_path: Path) -> Path:
    """The folder of a run of one call, interrupted before it."""
    request = api.make_request(scenario_of_tones(tmp_path, 1), agent="scripted")
    record = builders.run_record([]).model_copy(
        update={
            "complete": False,
            "scenario_path": str(request.scenario_path),
            "scenario_sha256": request.scenario_sha256,
            "profile": "scripted",
            "profile_data": request.profile_data,
            "planned_turns": 1,
            "seed": request.seed,
        }
    )
    folder = RunFolder.create(tmp_path, "run", record)
    assert folder.lock is not None
    folder.lock.release()
    return folder.path


def test_a_run_is_resumed_again_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever keeps the exception (a notebook does) does not keep the folder's lock with it."""

    def prepare(request: Request, show: object) -> None:
        raise WeightsError("no model")

    monkeypatch.setattr(preparation, "prepare", prepare)
    path = interrupted_run(tmp_path)
    kept = []
    for _ in range(2):
        with pytest.raises(WeightsError) as error:
            turngap.resume(path)
        kept.append(error.value)
        with pytest.raises(UsageError, match="otlp_port -1") as refusal:
            turngap.resume(path, otlp_port=-1)
        kept.append(refusal.value)

    async def resume() -> None:
        for _ in range(2):
            with pytest.raises(UsageError, match="blocks") as error:
                turngap.resume(path)
            kept.append(error.value)

    asyncio.run(resume())
    api.resume_request(path).release_lock()


def test_a_sweep_is_resumed_again_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own lock and those of its runs are released, in planning and in measuring."""
    request = sweep_plan.plan_sweep(
        scenario_of_tones(tmp_path, 1),
        grid.combine_values(["stt.delay_ms=1,2"]),
        profile="scripted",
        options=Options(out=tmp_path),
    )
    path = sweep_plan.with_folder(request, 0).path
    assert path is not None
    interrupted_run(tmp_path).rename(path / request.members[0].row.slug)

    def fail(*_: object) -> None:
        raise WeightsError("no model")

    kept = []
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "fetch_weights", fail)
        for _ in range(2):
            with pytest.raises(WeightsError) as error:
                turngap.resume_sweep(path)
            kept.append(error.value)
    second = path / request.members[1].row.slug
    second.mkdir()
    (second / store.RUN).write_text("{")
    for _ in range(2):
        with pytest.raises(RunFolderError, match="damaged") as damaged:
            turngap.resume_sweep(path)
        kept.append(damaged.value)
    shutil.rmtree(second)
    sweep_plan.plan_resumed_sweep(path).release_locks()


def test_frames_follow_the_verdict_of_a_killed_run(tmp_path: Path) -> None:
    """`report` judges it and counts its turns again; frames made before are made anew."""
    turns = builders.turns(20)
    folder = RunFolder.create(
        tmp_path, "run", builders.run_record([]).model_copy(update={"complete": False, "validity": ()})
    )
    folder.append(turns)
    run = turngap.load(folder.path)
    assert run.summary.loc["turn_gap", "turns"] == 0
    assert len(run.stages) == 0
    run.report(tmp_path / "report.html")
    assert run.summary.loc["turn_gap", "turns"] == 20
    assert len(run.stages) > 0


def test_warnings_precede_the_first_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too few turns for a budget: reported at the start, not after the calls."""
    messages: list[str] = []

    class Display:
        def show_message(self, text: str) -> None:
            messages.append(text)

        def show_start(self, turns: int) -> None:
            raise AssertionError

        def show_turn(self, turn: object, setting: str = "") -> None:
            raise AssertionError

    def prepare(request: Request, show: object) -> None:
        raise UsageError("stop here")

    monkeypatch.setattr(preparation, "prepare", prepare)
    scenario = scenario_of_tones(tmp_path, 2, gate="true")
    with pytest.raises(UsageError, match="stop here"):
        turngap.run(scenario, agent="scripted", budget="edge500", progress=Display())
    assert len(messages) == 1
    assert "at least 59 turns, and 2 are planned" in messages[0]


def test_an_interrupted_run_of_an_object_is_resumed(tmp_path: Path) -> None:
    """Its scenario is in its folder; only the missing calls are placed."""
    scenario = api.load_scenario(scenario_of_tones(tmp_path, 2))

    async def cut_short() -> Path:
        class Display:
            def show_message(self, text: str) -> None: ...

            def show_start(self, turns: int) -> None: ...

            def show_turn(self, turn: object, setting: str = "") -> None:
                if turn.scored:  # type: ignore[attr-defined]
                    task.cancel()

        task = asyncio.create_task(
            turngap.arun(scenario, agent="scripted", out=tmp_path / "results", progress=Display())
        )
        with pytest.raises(asyncio.CancelledError):
            await task
        (path,) = (tmp_path / "results").iterdir()
        return path

    path = asyncio.run(cut_short())
    kept = [turn.call_sid for turn in turngap.load(path).turn_records if turn.scored]
    assert len(kept) == 1
    run = turngap.resume(path)
    assert run.record.complete
    calls = [turn.call_sid for turn in run.turn_records if turn.scored]
    assert len(calls) == 2
    assert kept[0] in calls


def test_the_errors_that_the_api_raises_are_exported() -> None:
    """Each by its name; whoever catches the base class catches all."""
    internal = {
        errors.EngineError,
        errors.ProtocolError,
        errors.LiveError,
    }  # of the agent's process, and of phone calls
    defined = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)}
    exported = {getattr(turngap, name) for name in turngap.__all__ if name.endswith("Error")}
    assert exported == defined - internal
    assert all(issubclass(error, turngap.TurngapError) for error in exported)


def test_a_file_of_a_run_is_refused_with_its_folder(tmp_path: Path) -> None:
    """The folder is what has to be given."""
    path = store_run(tmp_path)
    with pytest.raises(RunFolderError, match=re.escape(f"give the folder {path}")):
        turngap.load(path / store.RUN)
