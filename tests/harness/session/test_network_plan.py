"""Which network each call is made under: once each, interleaved, warm-up under none."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from turngap import network
from turngap.model.budget import Budget, Limit
from turngap.model.live import LegTimes, LiveSummary
from turngap.network import telephone
from turngap.network.telephone import TelephoneNetwork
from turngap.scenario import PlannedCall, Turn
from turngap.session import network_plan, plan
from turngap.session.request import Options
from turngap.store.folder import RunFolder
from turngap.verdict.telephone import describe_network
from turngap_agent import profile
from turngap_agent.errors import RunFolderError, ScenarioError, UsageError
from turngap_agent.profile import Profile
from turngap_agent.profile.sections import NO_DELAY, NetworkModel

from tests.harness import report_builders as builders

SCENARIO = """name: small
warm_up_turns: 1
turns: [{id: a, say: one}, {id: b, say: two}, {id: c, say: three}]
"""
NETWORKS = ("clean", "jitter20", "lossy")


def scenario(folder: Path, more: str = "") -> str:
    file = folder / "small.scenario.yaml"
    file.write_text(SCENARIO + more)
    return str(file)


def test_each_utterance_is_called_once_under_each_network(tmp_path: Path) -> None:
    """Copies stand side by side, and each network is first as often as another; the warm-up is under none."""
    request = plan.plan_run(scenario(tmp_path), profile="scripted", networks=NETWORKS)
    assert request.planned_turns == 9
    assert [call.index for call in request.calls] == list(range(10))
    assert request.calls[0].network is None
    pairs = [(call.turns[0].key, call.network) for call in request.calls[1:]]
    named = [(key, one.name) for key, one in pairs if one is not None]
    assert set(Counter(named).values()) == {1}
    assert len(named) == 9
    for place in (0, 3, 6):
        assert len({key for key, _ in named[place : place + 3]}) == 1
    assert sorted(name for _, name in named[::3]) == sorted(NETWORKS)


def test_without_a_network_nothing_changes(tmp_path: Path) -> None:
    """The plan is the scenario's own, and no call has a network."""
    request = plan.plan_run(scenario(tmp_path), profile="scripted")
    assert (request.planned_turns, request.networks) == (3, ())
    assert [call.network for call in request.calls] == [None] * 4


def test_a_scenario_may_name_its_network(tmp_path: Path) -> None:
    """By name or as a file beside it; the command line goes before it."""
    path = scenario(tmp_path, "network: lossy\n")
    assert [one.name for one in plan.plan_run(path, profile="scripted").networks] == ["lossy"]
    assert [one.name for one in plan.plan_run(path, profile="scripted", networks=["clean"]).networks] == ["clean"]
    (tmp_path / "mine.yaml").write_text("name: mine\nuplink: {delay_ms: 10}\n")
    beside = plan.plan_run(scenario(tmp_path, "network: mine.yaml\n"), profile="scripted")
    assert [one.name for one in beside.networks] == ["mine"]


def test_networks_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """An unknown network, one given twice, several under a budget: one line each, and nothing was started."""
    path = scenario(tmp_path)
    with pytest.raises(ScenarioError, match=r"no network 'cleen'; did you mean 'clean'\? There are: clean"):
        plan.plan_run(path, profile="scripted", networks=["cleen"])
    with pytest.raises(UsageError, match="two networks are called 'lossy'"):
        plan.plan_run(path, profile="scripted", networks=["lossy", "lossy"])
    with pytest.raises(UsageError, match="judged under one network, not under clean, lossy"):
        plan.plan_run("gate", profile="scripted", networks=["clean", "lossy"], budget="sub500")
    named = scenario(tmp_path, "network: cleen\n")
    with pytest.raises(ScenarioError, match=r"small\.scenario\.yaml: `network`: no network 'cleen'"):
        plan.plan_run(named, profile="scripted")


def test_a_perceived_gap_is_not_judged_under_a_simulated_network(tmp_path: Path) -> None:
    """The network would count twice; where it adds nothing, or the gap at the edge is judged, it does not."""
    with pytest.raises(UsageError, match=r"'sub500' limits the perceived gap, .* network 'mobile': drop one"):
        plan.plan_run("gate", profile="scripted", networks=["mobile"], budget="sub500")
    own = scenario(tmp_path, "gate: true\nnetwork: mobile\n")
    with pytest.raises(UsageError, match="limits the perceived gap"):
        plan.plan_run(own, profile="scripted", budget="sub500")
    assert plan.plan_run("gate", profile="scripted", networks=["mobile"], budget="edge500").budget is not None
    assert plan.plan_run("gate", profile="scripted", networks=["clean"], budget="sub500").budget is not None


def test_a_resumed_run_keeps_its_own_networks(tmp_path: Path) -> None:
    """As they were when it began: `run.json` has them whole."""
    path = scenario(tmp_path)
    request = plan.plan_run(path, profile="scripted", networks=NETWORKS, options=Options(n_turns=2))
    record = builders.run_record([]).model_copy(
        update={
            "complete": False,
            "profile": "scripted",
            "profile_data": request.profile_data,
            "scenario_path": path,
            "scenario_sha256": request.scenario_sha256,
            "seed": request.seed,
            "planned_turns": request.planned_turns,
            "networks": {one.name: one for one in request.networks},
        }
    )
    folder = RunFolder.create(tmp_path / "results", "run", record).path
    resumed = plan.plan_resumed_run(folder)
    assert resumed.networks == request.networks
    assert resumed.calls == request.calls
    assert [resumed.network_ms(call) for call in resumed.calls] == [request.network_ms(call) for call in request.calls]
    assert resumed.planned_turns == 6


def test_a_turn_names_its_network_beside_its_noise() -> None:
    """Clean, or no network, leaves it as it is."""
    turn = builders.turn(0)
    noisy = turn.model_copy(update={"condition": "pink 10 dB"})
    assert network_plan.with_network_name(turn, "") is turn
    assert network_plan.with_network_name(turn, network.CLEAN) is turn
    assert network_plan.with_network_name(turn, "lossy").network == "lossy"
    named = network_plan.with_network_name(noisy, "lossy")
    assert (named.condition, named.network) == ("pink 10 dB", "lossy")


def test_notes_say_what_is_in_the_figures() -> None:
    """One network: part of every gap; several: mixed; none, or clean alone: nothing to say."""
    clean, lossy = network.load_network("clean"), network.load_network("lossy")
    assert network_plan.network_notes([]) == network_plan.network_notes([clean]) == []
    assert "'lossy': what it adds is part of every gap" in network_plan.network_notes([lossy])[0]
    assert "clean, lossy: figures over all turns mix them" in network_plan.network_notes([clean, lossy])[0]


def test_spread_keeps_warm_up_calls_single() -> None:
    """They warm the agent; no figure rests on them."""
    turn = (Turn(id="a", say="one"),)
    calls = [PlannedCall(0, turn, probe=True, warm_up=True), PlannedCall(1, turn, probe=False)]
    assigned = network_plan.assign_networks(calls, (network.load_network("clean"), network.load_network("lossy")))
    assert [(call.index, call.warm_up) for call in assigned] == [(0, True), (1, False), (2, False)]
    assert [call.network and call.network.name for call in assigned] == [None, "clean", "lossy"]


OWN_LEGS = Profile.model_validate({**profile.load("scripted").model_dump(), "network": {"in_ms": 40, "decode_ms": 25}})


def test_the_budget_decides_the_telephone_network() -> None:
    """Without one it is the profile's; without either the default."""
    budget = Budget(
        name="b", network=NetworkModel(preset="itu-regional"), limits=(Limit(metric="turn_gap_ms", at_most=1),)
    )
    assert network_plan.select_telephone_network(budget, OWN_LEGS).name == "itu-regional"
    assert network_plan.select_telephone_network(None, None).name == "twilio-edge"
    own = network_plan.select_telephone_network(None, OWN_LEGS)
    assert (own.name, own.in_ms.median_ms, own.out_ms.median_ms, own.decode_ms.p95_ms) == ("own", 40, 0, 25)


def test_a_call_has_the_delay_of_its_place_in_the_plan(tmp_path: Path) -> None:
    """The same for every seed, place by place; two runs of one seed have equal delays utterance by utterance."""
    requests = [plan.plan_run(scenario(tmp_path), profile="scripted", options=Options(seed=seed)) for seed in (1, 1, 2)]
    by_place = [[request.network_ms(call) for call in request.calls] for request in requests]
    assert by_place[0] == by_place[1] == by_place[2]
    assert len(set(by_place[0][1:])) == 3
    first, second, _ = [
        {call.turns[-1].key: request.network_ms(call) for call in request.calls} for request in requests
    ]
    assert first == second
    median_ms = telephone.delay_quantiles_ms(requests[0].telephone_network, 0.5)[0]
    assert by_place[0][0] == median_ms  # the warm-up call


def test_a_call_that_is_placed_again_has_the_delay_of_the_one_that_it_replaces(tmp_path: Path) -> None:
    """Once or twice."""
    request = plan.plan_run(scenario(tmp_path), profile="scripted")
    for call in request.calls:
        for times in (1, 2):
            repeated = request.repeat_call(call.index + times * len(request.calls))
            assert request.network_ms(repeated) == request.network_ms(call)


def test_an_utterance_has_one_delay_under_all_networks(tmp_path: Path) -> None:
    """What the simulated network does is compared on equal terms."""
    request = plan.plan_run(scenario(tmp_path), profile="scripted", networks=NETWORKS)
    delays: dict[str, set[float]] = {}
    for call in request.calls[1:]:
        delays.setdefault(call.turns[-1].key, set()).add(request.network_ms(call))
    assert [len(each) for each in delays.values()] == [1, 1, 1]
    assert len(set.union(*delays.values())) == 3


@pytest.mark.parametrize("turns", [None, 60])
def test_the_gates_delays_are_those_of_the_network(turns: int | None) -> None:
    """Median 95 and p95 125 ms, as the report states."""
    request = plan.plan_run("gate", profile="scripted", budget="sub500", options=Options(n_turns=turns))
    delays = [request.network_ms(call) for call in request.calls if not call.warm_up]
    assert np.quantile(delays, (0.5, 0.95)) == pytest.approx((95, 125), abs=2)


def live_run(folder: Path, count: int) -> Path:
    """A live run whose turns spent 180, 181, ... ms on the legs."""
    turns = [
        builders.turn(n).model_copy(
            update={
                "live": LegTimes(uplink_ms=90, server_gap_ms=300, downlink_ms=90 + n, total_ms=480 + n),
            }
        )
        for n in range(count)
    ]
    live = LiveSummary(
        calls=1,
        alone=False,
        fake=True,
        trial=None,
        turns=count,
        uplink_ms=90,
        server_gap_ms=300,
        downlink_ms=90,
        total_ms=480,
    )
    run = RunFolder.create(folder, f"live-{count}", builders.run_record(turns, live=live))
    run.append(turns)
    return run.path


def test_a_live_run_is_a_telephone_network(tmp_path: Path) -> None:
    """Mouth to ear less the gap at the media edge, turn by turn; its source says that it was a fake."""
    measured = network_plan.resolve_network_model(NetworkModel(live_run=str(live_run(tmp_path, 12))), "profile")
    assert measured.measured_ms == tuple(180.0 + n for n in range(12))
    assert "fake Twilio, 12 turns" in measured.source


def test_a_short_live_run_says_nothing_about_the_spread(tmp_path: Path) -> None:
    """Nine turns are refused with what to do."""
    with pytest.raises(RunFolderError, match=r"9 turns.*10 are needed.*preset"):
        network_plan.resolve_network_model(NetworkModel(live_run=str(live_run(tmp_path, 9))), "profile")


def test_a_model_is_one_thing() -> None:
    """A preset with legs would leave open which of them counts."""
    with pytest.raises(ValueError, match="not several"):
        NetworkModel(preset="none", in_ms=NO_DELAY)


def test_a_resumed_run_keeps_its_telephone_network(tmp_path: Path) -> None:
    """What the folder recorded counts, even if the preset changes later."""
    request = plan.plan_run(scenario(tmp_path), profile="scripted")
    kept = TelephoneNetwork(name="kept", source="the run's own", measured_ms=(7.0,))
    record = builders.run_record([]).model_copy(
        update={
            "complete": False,
            "profile": "scripted",
            "profile_data": request.profile_data,
            "telephone": describe_network(kept),
            "scenario_path": str(request.scenario_path),
            "scenario_sha256": request.scenario_sha256,
            "seed": request.seed,
            "planned_turns": request.planned_turns,
        }
    )
    path = RunFolder.create(tmp_path / "results", "run", record).path  # the folder itself, dropped, frees its lock
    resumed = plan.plan_resumed_run(path)
    try:
        assert resumed.telephone_network == kept
    finally:
        resumed.release_lock()
