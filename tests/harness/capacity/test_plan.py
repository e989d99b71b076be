"""What can be asked for: loads, searches and shapes; everything else is one line before anything is placed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from turngap.capacity import shapes
from turngap.capacity.arrivals import Load
from turngap.capacity.lengths import CallLengths
from turngap.capacity.plan import CapacityRequest, parse_loads, plan_capacity, plan_point
from turngap.cli import app
from turngap.corpus.clips import Corpus
from turngap.model.records import Clip
from turngap.scenario import Scenario, Turn
from turngap.session.request import Options
from turngap_agent.errors import UsageError

TURNS = tuple(Turn.model_validate({"id": f"t{index}", "say": "hello there", "pause_ms": 100}) for index in range(70))
SPARE = Turn.model_validate({"id": "spare", "say": "good morning", "pause_ms": 100})
GATE = Scenario(name="small", turns=TURNS, gate=True, probe=True, depth={1: 1.0}, lead_ins=(SPARE,))


def corpus() -> Corpus:
    keys = [turn.key for turn in (*TURNS, SPARE)]
    clips = {key: Clip(key, np.zeros(16_000, np.int16), 0, None, 0, 0, "", synthetic=True) for key in keys}
    return Corpus(clips, (), GATE)


def plan(**arguments: Any) -> CapacityRequest:
    return plan_capacity(GATE, profile="scripted", options=Options(n_turns=arguments.pop("turns", None)), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"calls": "0"}, "--calls 0: 1 to 10,000"),
        ({"calls": "-3"}, "--calls -3: 1 to 10,000"),
        ({"calls": "1,2,999999"}, "--calls 999999: 1 to 10,000"),
        ({"calls": "8,4"}, "--calls: 4 after 8"),
        ({"calls": "4,4"}, "--calls: 4 after 4"),
        ({"calls": "1,two"}, "--calls 'two': whole numbers"),
        ({"calls": ""}, "--calls '': whole numbers"),
        ({"calls": "1.5"}, "--calls '1.5': whole numbers"),
        ({"rate": "0"}, "--rate 0: more than 0"),
        ({"rate": "nan"}, "--rate nan: more than 0"),
        ({"rate": "2,1"}, "--rate: 1 after 2"),
        ({"rate": "fast"}, "--rate 'fast': calls a second"),
        ({"calls": "1", "rate": "1"}, "give one of them"),
        ({"calls": "1", "search": True, "budget": "edge500"}, "give one of them"),
        ({"search": True}, "give --budget"),
        ({"search": True, "budget": "edge500", "shape": "spike"}, "drop --shape"),
        ({"search": True, "budget": "edge500", "most": 0}, "--most 0"),
        ({"calls": "1", "most": 4}, "--most is the highest load"),
        ({"shape": "spike", "turns": 5}, "drop it"),
        ({"shape": "spikey"}, "did you mean 'spike'"),
        ({"budget": "edge50"}, "edge500"),
        ({"calls": "9000"}, "open files"),
    ],
)
def test_what_cannot_be_tried_is_one_line(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], message: str
) -> None:
    """Zero, absurd and falling loads, options that exclude each other, unknown names, more sockets than allowed."""
    monkeypatch.setattr("resource.getrlimit", lambda which: (1024, 4096))
    with pytest.raises(UsageError) as raised:
        plan(**arguments)
    (line,) = str(raised.value).splitlines()
    assert message in line


def test_a_load_that_no_process_or_plan_can_hold_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both numbers follow from the lengths of calls, before any is placed."""
    monkeypatch.setattr("resource.getrlimit", lambda which: (1024, 4096))
    lengths = CallLengths(corpus().clips)
    with pytest.raises(UsageError, match="open files"):
        plan_point(plan(rate="1000"), Load(rate_per_s=1000.0), corpus(), lengths)
    for module in ("arrivals", "plan"):
        monkeypatch.setattr(f"turngap.capacity.{module}.MOST_CALLS", 50)
    with pytest.raises(UsageError, match="shape 'steps' with 4 calls at once has 50 calls or more"):
        plan_point(plan(calls="4", shape="steps"), Load(calls=4), corpus(), lengths)


def test_callers_are_of_one_machine() -> None:
    """On a cluster each node has one."""
    with pytest.raises(UsageError, match="drop --callers"):
        plan_capacity(GATE, url="ws://127.0.0.1:9/", callers=2, options=Options(ray="local"))


def test_a_budget_needs_a_gate_scenario() -> None:
    """As in an ordinary run."""
    plain = GATE.model_copy(update={"gate": False})
    with pytest.raises(UsageError, match="use the scenario `gate`"):
        plan_capacity(plain, profile="scripted", budget="edge500", options=Options())


def test_nothing_listens_at_the_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, exit code 2, before calibration, and no folder is left."""
    from tests.harness.tones import scenario_of_tones

    scenario = scenario_of_tones(tmp_path, 2)
    monkeypatch.chdir(tmp_path)
    assert app.execute(["capacity", str(scenario), "--calls", "1", "--url", "ws://127.0.0.1:9/media"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "ws://127.0.0.1:9/media" in lines[-1]
    assert not any("calibrating" in line for line in lines)
    assert not (tmp_path / "results").exists()


def test_nobody_answers_at_a_sip_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same, by SIP."""
    pytest.importorskip("aiosipua", reason="needs the extra `sip`")
    from tests.harness.tones import scenario_of_tones

    monkeypatch.setattr("turngap.caller.sip.signalling.PING_TIMEOUT_S", 0.3)
    scenario = scenario_of_tones(tmp_path, 2)
    monkeypatch.chdir(tmp_path)
    assert app.execute(["capacity", str(scenario), "--calls", "1", "--url", "sip:agent@127.0.0.1:9"]) == 2
    assert "does not answer SIP" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "arguments",
    [("--calls", "2,1"), ("--compare", "nowhere"), ("--compare", "a", "--calls", "1"), ("--search",)],
)
def test_wrong_options_are_exit_code_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    """One line on stderr, nothing written."""
    monkeypatch.chdir(tmp_path)
    assert app.execute(["capacity", *arguments]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("turngap: error: ")
    assert list(tmp_path.iterdir()) == []


def test_loads_are_read_from_text_and_from_lists() -> None:
    """By default 1, 2, 4 and 8 calls at once."""
    assert [load.calls for load in parse_loads("1, 3,10", None)] == [1, 3, 10]
    assert [load.rate_per_s for load in parse_loads(None, [0.5, 2])] == [0.5, 2.0]
    assert [load.calls for load in parse_loads(None, None)] == [1, 2, 4, 8]


def test_a_point_is_a_run_whose_agent_takes_the_load() -> None:
    """More calls than the mean fit in, since arrivals come by chance; the user's own limit stays."""
    request = plan(calls="30", shape="poisson")
    point = plan_point(request, Load(calls=30), corpus(), CallLengths(corpus().clips))
    assert point.request.profile is not None
    assert point.request.profile.limits.simultaneous_calls >= 30 + 4 * 5
    assert point.request.scenario.simultaneous_calls == 30
    assert point.request.planned_turns == 90 == len(point.arrivals.scored)
    own = plan(calls="30", overrides=("limits.simultaneous_calls=3",))
    kept = plan_point(own, Load(calls=30), corpus(), CallLengths(corpus().clips))
    assert kept.request.profile is not None
    assert kept.request.profile.limits.simultaneous_calls == 3


def test_a_point_under_a_budget_has_each_utterance_once() -> None:
    """And as many calls at once as the load, as the verdict's sentence says."""
    request = plan(calls="4", budget="edge500-audio")
    point = plan_point(request, Load(calls=4), corpus(), CallLengths(corpus().clips))
    assert point.request.budget is not None
    assert (point.request.planned_turns, point.request.simultaneous_calls) == (70, 4)
    assert (request.metric, request.budget_ms) == ("turn_gap_ms", 500)


def test_a_shape_with_phases_decides_the_number_of_calls_and_is_not_judged() -> None:
    """Utterances come again, so no bound holds: the budget is a line in the chart."""
    request = plan(calls="4", budget="edge500-audio", shape="steps")
    assert request.judged is None
    point = plan_point(request, Load(calls=4), corpus(), CallLengths(corpus().clips))
    assert point.request.budget is None
    assert point.request.planned_turns == len(point.arrivals.scored) > 50
    assert request.budget_ms == 500


def test_a_search_starts_with_what_the_profile_declares() -> None:
    """Or with the highest load, if that is less."""
    declared = plan(search=True, budget="edge500-audio")
    assert (declared.first, declared.ceiling, declared.loads) == (16, 64, ())
    low = plan(search=True, budget="edge500-audio", most=3)
    assert (low.first, low.ceiling) == (3, 3)


def test_a_shape_may_be_an_object() -> None:
    """As every other document."""
    assert plan(calls=[1], shape=shapes.load_shape("cold")).shape.warm is False
