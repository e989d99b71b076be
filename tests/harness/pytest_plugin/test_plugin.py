"""`pytest --benchmark`: whatever measures nothing is an error, verdicts are test results, gaps are pytest-benchmark's.

Sessions run with warnings as errors, as a strict project has them. Runs are made up in most of them; the gate that
judges them is the real one.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import turngap
import yaml
from turngap import report, scenario
from turngap.corpus.clips import Corpus
from turngap.model.result import Verdict
from turngap.pytest_plugin import plugin
from turngap.session import preparation, runner
from turngap.session.request import Request
from turngap.session.runner import FinishedRun
from turngap.store import folder as store
from turngap.verdict import gate
from turngap_agent.errors import AgentError

from tests.harness import report_builders as builders
from tests.harness.tones import scenario_of_tones

pytest_plugins = ["pytester"]

Session = Callable[..., pytest.RunResult]
ROOT = Path(__file__).resolve().parents[3]
SUFFIX = plugin.SUFFIX
SCENARIO = "name: {name}\ngate: {gate}\nturns:\n  - {{say: hello there}}\n"
# Where turngap is installed, its entry point would bring the plugin a second time.
ALONE = ("-p", "no:turngap", "-W", "error", "-W", "ignore::pytest.PytestAssertRewriteWarning")
"""Where turngap is installed, its plugin is requested by hand all the same; it has been imported by then."""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions know nothing of the session that starts them."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def session(pytester: pytest.Pytester) -> Session:
    """Starts a pytest session in the test's folder."""

    def start(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest_inprocess(*ALONE, *arguments, plugins=[plugin])

    return start


@pytest.fixture
def made_up(session: Session, monkeypatch: pytest.MonkeyPatch) -> Session:
    """Starts a session in which runs have made-up turns, or end with an error."""

    def start(
        *arguments: str,
        turns: int = 1,
        planned: int | None = None,
        scale: float = 0.4,
        error: str = "",
        changes: dict[str, Any] | None = None,
    ) -> pytest.RunResult:
        async def run_it(request: Request, *_: object, **__: object) -> FinishedRun:
            if error:
                raise AgentError(error)
            made = builders.turns(turns, scale=scale, **(changes or {}))
            # As in a gate, every third caller pauses.
            made = [turn.model_copy(update={"pause_ms": 400.0 * (turn.call % 3 == 0)}) for turn in made]
            evidence = gate.Evidence(
                len(made) if planned is None else planned,
                True,
                calibration_bias_ms=0.1,
                sentinel_bias_ms=0.1,
                foreign_cpu_share=0.0,
            )
            judged = gate.judge_run(made, evidence, request.budget)
            record = builders.run_record(
                made,
                verdict=judged.verdict,
                sentence=judged.sentence,
                reasons=judged.reasons,
                validity=judged.checks,
                scenario=request.scenario.name,
                profile=request.profile_name,
            )
            folder = store.RunFolder.create(request.options.out, "made-up", record)
            folder.append(made)
            return FinishedRun(store.read_run(folder.path).record, folder)

        with monkeypatch.context() as patch:
            patch.setattr(runner, "run_request", run_it)
            patch.setattr(preparation, "prepare", lambda request, says: (request, Corpus({}, (), request.scenario)))
            patch.setattr(report, "render_report", lambda folder, page, baseline: None)
            return session(*arguments)

    return start


def real(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """A session in a process of its own, as a user starts it."""
    return pytester.runpytest_subprocess(*ALONE, "-p", "turngap.pytest_plugin.plugin", *arguments)


def write(pytester: pytest.Pytester, name: str = "talk", *, gate: bool = False) -> Path:
    """A scenario file of one turn."""
    path = pytester.path / f"{name}{SUFFIX}"
    path.write_text(SCENARIO.format(name=path.name.removesuffix(SUFFIX), gate=str(gate).lower()))
    return path


def errors(result: pytest.RunResult) -> str:
    """What a session that was refused says, on one line."""
    lines = [line for line in result.errlines + result.outlines if line.startswith("ERROR: ")]
    assert len(lines) == 1, result.errlines
    assert "Traceback" not in result.stderr.str()
    return lines[0].removeprefix("ERROR: ")


def test_the_suffix_is_the_scenarios() -> None:
    """The plugin has its own copy, which needs no import."""
    assert scenario.SUFFIX == SUFFIX


def test_a_session_that_does_not_use_it_pays_nothing() -> None:
    """Importing the plugin, as every pytest session does, brings in nothing heavy."""
    script = (
        "import pytest, sys; before = set(sys.modules); import turngap.pytest_plugin.plugin\n"
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.replace("'", '"')))
    assert loaded - set(sys.stdlib_module_names) == {"turngap"}
    assert not loaded & {"asyncio", "subprocess", "json"}


def test_without_benchmark_scenarios_are_skipped_and_say_why(session: Session, pytester: pytest.Pytester) -> None:
    """Files and tests that measure are skipped with the reason; nothing else of the session changes."""
    write(pytester)
    pytester.makepyfile(
        test_it="""
        def test_measures(turngap): raise AssertionError
        def test_by_name(request): request.getfixturevalue("turngap"); raise AssertionError
        def test_other(): pass
        """
    )
    result = session("-rs")
    result.assert_outcomes(passed=1, skipped=3)
    result.stdout.fnmatch_lines(["*measures a voice agent: give --benchmark*"])
    assert "== turngap" not in result.stdout.str()


def test_an_ordinary_session_needs_no_pytest_benchmark(session: Session, pytester: pytest.Pytester) -> None:
    """With turngap and without pytest-benchmark, scenarios are skipped without an error."""
    write(pytester)
    pytester.makepyfile(test_it="def test_measures(turngap): raise AssertionError")
    session("-p", "no:benchmark").assert_outcomes(skipped=2)


def test_repeating_a_gate_until_it_passes_is_refused(session: Session, pytester: pytest.Pytester) -> None:
    """--reruns, as pytest-rerunfailures has it, would turn a FAIL into a PASS by luck."""
    write(pytester)
    pytester.makeconftest("def pytest_addoption(parser): parser.addoption('--reruns', type=int)")
    result = session("--benchmark", "--reruns", "2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--reruns repeats a gate until it passes" in errors(result)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "no:benchmark"], "--benchmark needs pytest-benchmark: pip install"),
        (["-n", "2"], "measures nothing under xdist"),
        (["--dist", "load"], "measures nothing under xdist"),
        (["--benchmark-disable"], "--benchmark together with --benchmark-disable measures nothing"),
        (["--benchmark-skip"], "--benchmark together with --benchmark-skip measures nothing"),
        (["--benchmark-compare=0007"], "--benchmark-compare=0007: no stored run matches"),
        (
            ["--benchmark-compare-fail=mean:5%", "--benchmark-compare-fail=max:5%"],
            "given twice keeps only the last",
        ),
        (["--turns", "0"], "--turns 0: a whole number is needed, at least 1"),
        (["--turns", "x"], "--turns x: a whole number"),
        (["--profile", "nobody"], "no profile 'nobody'; there are: "),
        (["--budget", "nothing"], "no budget 'nothing'; there are: "),
        (["--agent-url", "http://here"], "--agent-url 'http://here': expected ws://"),
        (["--agent-url", "ws://h/", "--profile", "cpu"], "--agent-url measures an agent that runs already"),
        (["-k", "other"], "nothing that measures was collected"),
        (["--budget", "sub500"], "--budget sub500: none of the collected scenarios can be judged"),
    ],
)
def test_a_session_that_would_measure_nothing_is_a_usage_error(
    session: Session, pytester: pytest.Pytester, arguments: list[str], message: str
) -> None:
    """Each is refused with one line before anything is called, with pytest's exit code for usage."""
    write(pytester)
    pytester.makepyfile(test_it="def test_other(): pass")
    # A comparison with nothing is a warning to pytest-benchmark; let it come as far as our refusal.
    result = session("-W", "ignore", "--benchmark", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in errors(result)


@pytest.mark.parametrize("arguments", [["-n", "0"], ["--benchmark-disable", "--benchmark-enable"]])
def test_harmless_combinations_are_let_through(
    made_up: Session, pytester: pytest.Pytester, arguments: list[str]
) -> None:
    """xdist without workers and a benchmark switched on again do measure."""
    write(pytester)
    made_up("--benchmark", *arguments).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: [", "broken.scenario.yaml:1: not valid YAML"),
        ("", "broken.scenario.yaml: the file is empty"),
        ("name: a\nturns: []\n", "broken.scenario.yaml:2: `turns`"),
        ("name: a\nturns: [{say: x}]\ngates: true\n", "unknown key `gates`; did you mean `gate`?"),
    ],
)
def test_a_broken_scenario_is_a_collection_error(
    session: Session, pytester: pytest.Pytester, content: str, message: str
) -> None:
    """With or without --benchmark: file, line and error, never a session without it."""
    write(pytester)
    (pytester.path / f"broken{SUFFIX}").write_text(content)
    result = session()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(errors=1)
    assert message in result.stdout.str()
    assert "Traceback" not in result.stdout.str()


def test_a_session_in_which_all_was_skipped_is_no_success(made_up: Session, pytester: pytest.Pytester) -> None:
    """--benchmark and no run made: an error, though no test failed."""
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.skip(reason="not today")
        def test_it(turngap): pass
        """
    )
    result = made_up("--benchmark")
    result.assert_outcomes(skipped=1)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["ERROR: --benchmark was given, and no run was made"])


def test_a_test_that_does_not_use_its_fixture_fails(made_up: Session, pytester: pytest.Pytester) -> None:
    """Asking for `turngap` and measuring nothing is no pass."""
    pytester.makepyfile("def test_it(turngap): pass")
    result = made_up("--benchmark")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*the `turngap` fixture was not used: nothing was measured*"])


def test_collecting_only_places_no_call(made_up: Session, pytester: pytest.Pytester) -> None:
    """--collect-only lists the scenario by its name."""
    write(pytester)
    result = made_up("--benchmark", "--collect-only", "-q", error="a call was placed")
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"talk{SUFFIX}::talk"])


def test_a_gate_that_holds_passes_and_is_stored(made_up: Session, pytester: pytest.Pytester) -> None:
    """PASS: gaps in table, JSON and storage, with p95, its bound and the GPU; the sentence in summary and JUnit."""
    write(pytester, gate=True)
    write(pytester, "other")
    arguments = ("--benchmark-json=b.json", "--benchmark-autosave", "--junitxml=j.xml", "--benchmark-only")
    result = made_up("--benchmark", f"talk{SUFFIX}", *arguments, turns=181)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "*= turngap =*",
            "talk: PASS: sub500 holds with one call at a time: p95 of *",
            "*benchmark 'turn gap'*",
            "talk *",
        ]
    )
    stored = json.loads((pytester.path / "b.json").read_text())
    (one,) = stored["benchmarks"]
    run = store.read_run(pytester.path / "results" / "made-up")
    gaps_s = sorted(turn.turn_gap_ms / 1e3 for turn in run.turns if turn.turn_gap_ms is not None)
    assert sorted(one["stats"]["data"]) == pytest.approx(gaps_s)
    assert one["stats"]["p95"] == pytest.approx((run.record.turn_gap_ms.p95 or 0) / 1e3)
    assert one["stats"]["p95_upper"] > one["stats"]["p95"]
    assert one["extra_info"]["verdict"] == Verdict.PASS
    assert one["extra_info"]["run_id"] == "made-up"
    assert stored["machine_info"]["gpu"]
    assert len(list((pytester.path / ".benchmarks").rglob("0001_*.json"))) == 1
    properties = {each.get("name"): each.get("value") for each in ET.parse(pytester.path / "j.xml").iter("property")}
    assert properties["turngap_verdict"] == "PASS"
    assert properties["turngap_run_id"] == "made-up"
    assert float(properties["turngap_perceived_gap_p95_ms"] or "nan") < 500


def test_a_slower_run_fails_a_requested_comparison(made_up: Session, pytester: pytest.Pytester) -> None:
    """--benchmark-compare with a pinned number sees our gaps, and a limit on it ends the session with an error."""
    write(pytester)
    arguments = ("--benchmark", "--benchmark-compare=0001", "--benchmark-compare-fail=median:10%")
    made_up("--benchmark", "--benchmark-save=base", turns=8).assert_outcomes(passed=1)
    same = made_up(*arguments, turns=8)
    assert same.ret == 0
    same.stdout.fnmatch_lines(["talk (0001_base)*", "talk (NOW)*"])
    slower = made_up(*arguments, turns=8, scale=0.5)
    assert slower.ret != 0
    assert "Performance has regressed" in slower.stderr.str()
    (pytester.path / f"talk{SUFFIX}").rename(pytester.path / f"speech{SUFFIX}")
    renamed = made_up(*arguments, turns=8)
    assert renamed.ret == pytest.ExitCode.USAGE_ERROR
    renamed.stdout.fnmatch_lines([f"ERROR: --benchmark-compare-fail: no stored run has speech{SUFFIX}::talk*"])


def test_a_gate_that_does_not_hold_fails_with_its_reasons(made_up: Session, pytester: pytest.Pytester) -> None:
    """FAIL: the verdict's sentence and every reason stand in the failure, here and in JUnit."""
    write(pytester, gate=True)
    result = made_up("--benchmark", "--budget", "sub500", "--junitxml=j.xml", turns=181, scale=1.0)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "FAIL: sub500 does not hold with one call at a time: p95 of perceived gap over the budget of 500 ms *",
            "  - p95 of perceived gap *",
            "  report: *",
        ]
    )
    (failure,) = ET.parse(pytester.path / "j.xml").iter("failure")
    assert (failure.text or "").startswith("FAIL: sub500 does not hold")
    assert "Traceback" not in result.stdout.str()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"turns": 58}, "1 more turn"),
        ({"turns": 181, "planned": 200}, "needs 19 more turns"),
        ({"turns": 0}, "no turn was scored"),
        ({"turns": 181, "changes": {"outcome": "invalid"}}, "INVALID: "),
        ({"turns": 181, "changes": {"perceived_gap_ms": None}}, "is not known for 181 of 181"),
    ],
)
def test_a_gate_without_a_verdict_fails_and_stores_nothing(
    made_up: Session, pytester: pytest.Pytester, settings: dict[str, Any], message: str
) -> None:
    """INVALID says what to do; its gaps are no baseline, and pytest-benchmark's own warning hides nothing."""
    write(pytester, gate=True)
    result = made_up("--benchmark", "--benchmark-json=b.json", **settings)
    result.assert_outcomes(failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "INVALID: " in result.stdout.str()
    assert message in result.stdout.str()
    assert not (pytester.path / "b.json").exists()


@pytest.mark.parametrize(
    "changes", [{"outcome": "missed", "turn_gap_ms": None}, {"turn_gap_ms": float("nan")}], ids=["missed", "nan"]
)
def test_a_measured_run_without_a_gap_to_show_fails(
    made_up: Session, pytester: pytest.Pytester, changes: dict[str, Any]
) -> None:
    """No answered turn, or a gap that is no number: MEASURED is no pass."""
    write(pytester)
    result = made_up("--benchmark", turns=3, changes=changes)
    result.assert_outcomes(failed=1)


def test_an_agent_that_dies_is_one_line(made_up: Session, pytester: pytest.Pytester) -> None:
    """An error fails the test with its message and without a traceback."""
    write(pytester)
    result = made_up("--benchmark", "--benchmark-autosave", error="the agent died (exit code 1)")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["turngap: the agent died (exit code 1)"])
    assert "Traceback" not in result.stdout.str()


def test_scenarios_in_python_sync_and_async(made_up: Session, pytester: pytest.Pytester) -> None:
    """Made in Python, by path from the test's folder, by name; several in a test, the first is pytest-benchmark's."""
    write(pytester)
    pytester.makepyfile(
        """
        import pytest
        from turngap.scenario import Scenario, Turn
        from turngap_agent.errors import UsageError

        OURS = Scenario(name="ours", turns=(Turn(say="hello there"),))

        @pytest.mark.benchmark(group="mine")
        def test_sync(turngap, benchmark):
            assert turngap.run(OURS).verdict == "MEASURED"
            first = benchmark.extra_info["run_id"]
            assert turngap.run("talk.scenario.yaml", profile="scripted").profile == "scripted"
            assert first == benchmark.extra_info["run_id"]
            assert benchmark.stats.stats.min > 0.05

        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        async def test_async(turngap):
            assert (await turngap.arun("smoke")).scenario == "smoke"
            with pytest.raises(UsageError, match="await turngap.arun"):
                turngap.run(OURS)
        """
    )
    result = made_up("--benchmark", turns=2)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        ["*= turngap =*", "ours: MEASURED*", "talk: MEASURED*", "smoke: *", "*benchmark 'mine'*"]
    )


def test_the_command_line_overrides_the_ini_file(made_up: Session, pytester: pytest.Pytester) -> None:
    """turngap_profile, turngap_budget and turngap_out hold; --agent-url replaces the ini file's agent."""
    write(pytester, gate=True)
    (pytester.path / "mine.yaml").write_text("name: mine\nlimits: [{metric: turn_gap_ms, at_most: 2000}]\n")
    pytester.makeini(
        "[pytest]\nturngap_profile = scripted\nturngap_budget = mine.yaml\nturngap_out = kept\nturngap_turns = 59\n"
    )
    result = made_up("--benchmark", turns=59, scale=1.0)
    result.stdout.fnmatch_lines(["talk: PASS: mine holds with one call at a time: *"])
    assert store.read_run(pytester.path / "kept" / "made-up").record.profile == "scripted"
    made_up("--benchmark", "--agent-url", "ws://127.0.0.1:9/", turns=59, scale=1.0).assert_outcomes(passed=1)
    assert store.read_run(pytester.path / "kept" / "made-up-2").record.profile == "url"


def test_the_gate_of_the_gitlab_template_is_ready(made_up: Session, pytester: pytest.Pytester) -> None:
    """It is a command that this plugin takes, and the files that the job stores are where that command puts them."""
    job = yaml.safe_load((ROOT / "examples" / "ci" / "gitlab.yml").read_text("utf-8"))["turngap"]
    (gate,) = job["script"]
    program, *arguments = shlex.split(gate.replace("$PROFILE", job["variables"]["PROFILE"]))
    assert program == ".turngap/bin/pytest"
    (pytester.path / "scenarios").mkdir()
    write(pytester, "scenarios/gate", gate=True)
    made_up(*arguments, turns=181).assert_outcomes(passed=1)
    stored = [*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]]
    assert sorted(stored) == ["junit.xml", "reports/", "results/"]
    # A made-up run has no report; `test_a_real_run_on_the_scripted_agent` looks where a real one's is.
    assert [name for name in stored if not (pytester.path / name).exists()] == ["reports/"]


def test_the_python_tests_in_the_docs_run(made_up: Session, pytester: pytest.Pytester) -> None:
    """As they are written, with the names of the API alone."""
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "ci.md").read_text("utf-8"), re.DOTALL)
    pytester.makepyfile(block)
    pytester.makeconftest("import pytest\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n")
    tone = 0.2 * np.sin(2 * np.pi * 200 * np.arange(4800) / 8000)
    soundfile.write(pytester.path / "no.wav", np.concatenate([tone, np.zeros(1600)]), 8000, subtype="PCM_16")
    made_up("--benchmark", "--profile", "scripted", turns=181).assert_outcomes(passed=2)
    imported = re.findall(r"^from (\S+) import (.*)$", block, re.MULTILINE)
    assert [module for module, _ in imported] == ["turngap"]
    assert set(imported[0][1].split(", ")) <= set(turngap.__all__)


def test_a_real_run_on_the_scripted_agent(pytester: pytest.Pytester) -> None:
    """Files end as their runs do: measured, invalid where a busy machine made our own caller late, or without a gap
    where it broke every answer."""
    scenario_of_tones(pytester.path, 2, probe="true")
    arguments = ("--benchmark", "--profile", "scripted", "--junitxml=j.xml", "--benchmark-json=b.json")
    result = real(pytester, *arguments)
    (folder,) = (pytester.path / "results").iterdir()
    record = store.read_run(folder).record
    assert record.complete
    if record.verdict is Verdict.MEASURED and not record.outcomes.get("answered"):
        result.assert_outcomes(failed=1)
        assert "no result: a test needs at least one answered turn" in result.stdout.str()
    elif record.verdict is Verdict.MEASURED:
        result.assert_outcomes(passed=1)
        (one,) = json.loads((pytester.path / "b.json").read_text())["benchmarks"]
        assert one["stats"]["rounds"] == record.outcomes["answered"]
    else:
        assert record.verdict is Verdict.INVALID
        result.assert_outcomes(failed=1)
        assert record.sentence in result.stdout.str()
    result.stdout.fnmatch_lines([f"tones: {record.verdict}: *"])
    assert (pytester.path / "reports" / f"{folder.name}.html").is_file()


def test_a_url_where_nobody_answers_fails(pytester: pytest.Pytester) -> None:
    """--agent-url of a port where nothing listens: one line that says so."""
    scenario_of_tones(pytester.path, 1)
    result = real(pytester, "--benchmark", "--agent-url", "ws://127.0.0.1:9/twilio/media")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["turngap: *no connection to ws://127.0.0.1:9/twilio/media*(Twilio 31902)"])
