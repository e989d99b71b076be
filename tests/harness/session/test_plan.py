"""A run's request is checked before anything starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from turngap.corpus.clips import Corpus
from turngap.network import NetworkProfile
from turngap.network.profile import Direction
from turngap.scenario import Scenario, Turn
from turngap.scenario.content import default_openings
from turngap.session import agent_run, plan, run_documents
from turngap.session.request import Options, Request
from turngap.store import folder as store
from turngap.store.folder import RunFolder
from turngap.verdict.budget import Budget, Limit
from turngap.verdict.validity import OWN_OPENINGS
from turngap_agent import profile as profiles
from turngap_agent.errors import AgentError, ProfileError, RunFolderError, ScenarioError, UsageError
from turngap_agent.inject import Injection

from tests.harness import report_builders as builders
from tests.harness.tones import scenario_of_tones

SCENARIO = """name: small
warm_up_turns: 1
turns: [{id: a, say: one}, {id: b, say: two}, {id: c, say: three}]
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """Three turns, one call each, and one warm-up call."""
    file = tmp_path / "small.scenario.yaml"
    file.write_text(SCENARIO)
    return file


def unfinished(tmp_path: Path, scenario: Path, calls: tuple[int, ...]) -> Path:
    """The folder of a run of `scenario` that was killed when those calls had been scored."""
    request = plan.plan_run(str(scenario), profile="scripted")
    record = builders.run_record([]).model_copy(
        update={
            "complete": False,
            "profile": "scripted",
            "profile_data": request.profile_data,
            "scenario_path": str(scenario),
            "scenario_sha256": request.scenario_sha256,
            "seed": request.seed,
            "planned_turns": request.planned_turns,
        }
    )
    folder = RunFolder.create(tmp_path / "results", "run", record)
    keys = {call.index: call.turns[0].key for call in request.calls}
    folder.append([builders.turn(0, call=index, turn=0, utterance_id=keys[index]) for index in calls])
    return folder.path


def test_a_scenario_is_loaded_by_path(scenario: Path) -> None:
    """The request holds the plan, the hash and the profile's own network model."""
    request = plan.plan_run(str(scenario), profile="scripted", options=Options(seed=7, n_turns=2))
    assert (request.planned_turns, len(request.calls), request.seed) == (2, 3, 7)
    assert request.profile_name == "scripted"
    assert request.telephone_network.name == "twilio-edge"
    assert len(request.scenario_sha256) == 64


def test_an_override_is_part_of_the_profile(scenario: Path) -> None:
    """What --set changes is what run.json and the agent get."""
    request = plan.plan_run(str(scenario), profile="scripted", overrides=("endpointing.min_silence_ms=250",))
    assert request.profile_data["endpointing"]["min_silence_ms"] == 250


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("endpointing.min_silence=1",),
            "--set 'endpointing.min_silence=1': unknown key `endpointing.min_silence`; did you mean `min_silence_ms`?",
        ),
        (
            ("limits.simultaneous_calls=2", "endpointing.min_silence_ms=soon"),
            "--set 'endpointing.min_silence_ms=soon': `endpointing.min_silence_ms` must be a whole number, not 'soon'",
        ),
        (
            ("vad.engine=ear",),
            "--set 'vad.engine=ear': `vad.engine`: no vad engine is called 'ear'; there are: silero, energy",
        ),
        (
            ("price=null", "price.an_hour=2"),
            "--set 'price.an_hour=2': the profile has no `price`; give all of it: price={an_hour: 2, ...}",
        ),
        (("llm=null",), "--set 'llm=null': `llm` must be a mapping of keys to values"),
    ],
)
def test_a_fault_of_an_override_names_it(scenario: Path, overrides: tuple[str, ...], message: str) -> None:
    """As it was typed; the user has no file with lines before them."""
    with pytest.raises(ProfileError) as fault:
        plan.plan_run(str(scenario), profile="scripted", overrides=overrides)
    assert str(fault.value).startswith(message)
    assert str(fault.value).count("--set") == 1


def test_a_recording_is_no_scenario() -> None:
    """The error says how a recording becomes a scenario."""
    for given in ("mine.wav", "./recordings/mine.FLAC"):
        with pytest.raises(ScenarioError, match=r"`turngap label .*mine\.scenario\.yaml: .*audio: ") as fault:
            plan.plan_run(given)
        assert given in str(fault.value)


def test_unknown_names_are_refused_with_the_known_ones(scenario: Path) -> None:
    """Scenario, profile and budget each say what there is."""
    with pytest.raises(ScenarioError, match=r"no scenario 'nope'"):
        plan.plan_run("nope")
    with pytest.raises(ProfileError, match=r"no profile 'nope'; there are: .*cpu"):
        plan.plan_run(str(scenario), profile="nope")
    with pytest.raises(ScenarioError, match=r"no budget 'nope'; there are: .*sub500"):
        plan.plan_run(str(scenario), profile="scripted", budget="nope")


def test_a_url_excludes_profile_options(scenario: Path) -> None:
    """An agent that runs already has no profile of ours to change."""
    url = "ws://127.0.0.1:9/twilio/media"
    request = plan.plan_run(str(scenario), url=url)
    assert (request.profile_name, request.url, request.profile_data) == ("url", url, {})
    for more in ({"profile": "cpu"}, {"overrides": ("a=b",)}, {"options": Options(inject=("encoding=1",))}):
        with pytest.raises(UsageError, match="--url measures an agent that runs already"):
            plan.plan_run(str(scenario), url=url, **more)  # type: ignore[arg-type]  # one wrong pairing at a time


def test_a_budget_needs_a_scenario_that_gates(scenario: Path) -> None:
    """A verdict on a scenario that is not made for it is refused at once."""
    with pytest.raises(ScenarioError, match="gate: true"):
        plan.plan_run(str(scenario), profile="scripted", budget="sub500")


def test_more_calls_at_once_than_the_agent_takes_are_refused(scenario: Path) -> None:
    """The message says what to change."""
    scenario.write_text(SCENARIO + "simultaneous_calls: 17\n")
    with pytest.raises(ScenarioError, match=r"17 simultaneous calls, profile 'scripted' takes 16.*--set limits"):
        plan.plan_run(str(scenario), profile="scripted")


def test_under_a_budget_as_many_calls_go_on_as_the_profile_declares(scenario: Path) -> None:
    """A gate holds at the profile's declared load, whatever the scenario says; without a budget the scenario says."""
    scenario.write_text(SCENARIO + "simultaneous_calls: 3\ngate: true\n")
    declared = ("limits.gated_calls=4",)
    assert plan.plan_run(str(scenario), profile="scripted", overrides=declared).simultaneous_calls == 3
    judged = plan.plan_run(str(scenario), profile="scripted", overrides=declared, budget="sub500")
    assert judged.simultaneous_calls == 4


@pytest.mark.parametrize("delay", ["stt=3", "encoding", "encoding=x", "encoding=-1", "=4", "encoding=60001"])
def test_a_delay_that_the_agent_would_refuse_is_refused_before_anything_starts(scenario: Path, delay: str) -> None:
    """With the agent's own error: both sides read it with one function."""
    with pytest.raises(UsageError) as agents:
        Injection.parse([delay])
    with pytest.raises(UsageError) as ours:
        plan.plan_run(str(scenario), profile="scripted", options=Options(inject=(delay,)))
    assert (ours.value.code, str(ours.value)) == ("usage.inject", str(agents.value))


@pytest.mark.parametrize("url", ["ws://127.0.0.1:99999/", "ws://:80/", "http://a/", "ws://a:x/"])
def test_a_url_that_cannot_be_an_agent_is_refused_at_once(scenario: Path, url: str) -> None:
    """Before the calibration, which takes a while."""
    with pytest.raises((UsageError, AgentError), match="--url"):
        plan.plan_run(str(scenario), url=url)


def test_a_scenario_may_name_the_dialect_of_an_agent_at_a_url(scenario: Path) -> None:
    """The option takes precedence; a profile's agent speaks Twilio's; an unknown name is refused."""
    text = scenario.read_text()
    scenario.write_text(f"dialect: telnyx\n{text}")
    url = "ws://127.0.0.1:9/"
    assert plan.plan_run(str(scenario), url=url).dialect == "telnyx"
    assert plan.plan_run(str(scenario), url=url, options=Options(dialect="plivo")).dialect == "plivo"
    assert plan.plan_run(str(scenario), profile="scripted").dialect == "twilio"
    scenario.write_text(f"dialect: telnix\n{text}")
    with pytest.raises(UsageError, match="telnyx"):
        plan.plan_run(str(scenario), url=url)


def test_a_resumed_run_has_only_its_missing_calls(tmp_path: Path, scenario: Path) -> None:
    """Finished calls are not repeated; the warm-up is, because the agent has just started."""
    path = unfinished(tmp_path, scenario, calls=(0, 1, 3))
    assert [call.index for call in plan.plan_resumed_run(path).missing] == [0, 2]


def test_a_resumed_run_has_the_profile_it_began_with(tmp_path: Path, scenario: Path) -> None:
    """Not the shipped profile as it is by now, but the one in run.json."""
    path = unfinished(tmp_path, scenario, calls=())
    data = json.loads((path / store.RUN).read_text())
    data["profile_data"]["stt"]["delay_ms"] = 77.0
    (path / store.RUN).write_text(json.dumps(data))
    assert plan.plan_resumed_run(path).profile_data["stt"]["delay_ms"] == 77.0


def test_a_resumed_run_has_the_delays_it_began_with(tmp_path: Path, scenario: Path) -> None:
    """An agent with an injected delay is not another one after the resumption."""
    path = unfinished(tmp_path, scenario, calls=())
    data = json.loads((path / store.RUN).read_text())
    data["environment"] |= {"inject": ["encoding=100"], "agent_nice": 3}
    (path / store.RUN).write_text(json.dumps(data))
    options = plan.plan_resumed_run(path).options
    assert (options.inject, options.agent_nice) == (("encoding=100",), 3)


def test_a_resumed_run_reads_its_state_field_before_its_environment(tmp_path: Path, scenario: Path) -> None:
    """`resume` in `run.json`; the keys in `environment` are those of older runs."""
    path = unfinished(tmp_path, scenario, calls=())
    data = json.loads((path / store.RUN).read_text())
    data["resume"] = {"inject": ["transcription=50"], "agent_nice": 5}
    data["environment"] |= {"inject": ["encoding=100"], "agent_nice": 3}
    (path / store.RUN).write_text(json.dumps(data))
    options = plan.plan_resumed_run(path).options
    assert (options.inject, options.agent_nice) == (("transcription=50",), 5)


def test_a_changed_scenario_is_not_resumed(tmp_path: Path, scenario: Path) -> None:
    """The rest of the calls would not be the rest of the same run."""
    path = unfinished(tmp_path, scenario, calls=(1,))
    scenario.write_text(SCENARIO + "seed: 5\n")
    with pytest.raises(RunFolderError, match="has changed since the run began"):
        plan.plan_resumed_run(path)


def test_a_shipped_scenario_that_an_update_moved_is_found_again(tmp_path: Path, scenario: Path) -> None:
    """By its name, if its content is the same; else the recorded path is reported."""
    path = unfinished(tmp_path, run_documents.locate_scenario("smoke"), calls=())
    data = json.loads((path / store.RUN).read_text())
    data["scenario_path"] = str(tmp_path / "site-packages" / "scenarios" / "smoke.scenario.yaml")
    (path / store.RUN).write_text(json.dumps(data))
    request = plan.plan_resumed_run(path)
    assert request.scenario_path == run_documents.SHIPPED / "smoke.scenario.yaml"
    assert request.missing
    request.release_lock()
    data["scenario_sha256"] = "0" * 64
    (path / store.RUN).write_text(json.dumps(data))
    with pytest.raises(ScenarioError, match="site-packages/scenarios/smoke"):
        plan.plan_resumed_run(path)


def test_a_complete_run_is_not_resumed(tmp_path: Path, scenario: Path) -> None:
    """There is nothing to do, and the error says so."""
    turns = builders.turns(3)
    folder = RunFolder.create(tmp_path, "run", builders.run_record(turns))
    folder.append(turns)
    assert folder.lock is not None
    folder.lock.release()
    path = folder.path
    with pytest.raises(RunFolderError, match=r"is complete \(3 turns\)"):
        plan.plan_resumed_run(path)


def test_a_live_run_is_not_resumed(tmp_path: Path, scenario: Path) -> None:
    """Its calls would be placed as ordinary ones; refused however early it was killed."""
    path = unfinished(tmp_path, scenario, calls=(1,))
    data = json.loads((path / store.RUN).read_text())
    data["environment"]["live"] = True
    (path / store.RUN).write_text(json.dumps(data))
    with pytest.raises(RunFolderError, match="a live run is not resumed; run `turngap smoke` again"):
        plan.plan_resumed_run(path)


def test_a_folder_is_resumed_by_one_at_a_time(tmp_path: Path, scenario: Path) -> None:
    """A second `--resume` is refused while the first lives; a lock goes with the process that held it."""
    path = unfinished(tmp_path, scenario, calls=(1,))
    holder = "import pathlib, sys; from turngap.session import plan; "
    holder += "first = plan.plan_resumed_run(pathlib.Path(sys.argv[1]))"
    with subprocess.Popen(
        [sys.executable, "-c", f"{holder}; print('held', flush=True); sys.stdin.read()", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RunFolderError, match="a run is writing this folder right now") as caught:
            plan.plan_resumed_run(path)
        process.kill()
    assert caught.value.exit_code == 3
    assert plan.plan_resumed_run(path).missing


def test_a_run_under_way_is_not_resumed(tmp_path: Path, scenario: Path) -> None:
    """The run that made the folder holds it too, under its final name."""
    path = unfinished(tmp_path, scenario, calls=())
    under_way = RunFolder.create(tmp_path, "run", store.read_run(path).record)
    with pytest.raises(RunFolderError, match="right now"):
        plan.plan_resumed_run(under_way.path)


def test_the_plan_leaves_out_turns_without_a_clip(scenario: Path) -> None:
    """A turn without a usable clip is not called."""
    request = plan.plan_run(str(scenario), profile="scripted")
    kept = request.scenario.model_copy(update={"turns": request.scenario.turns[:2]})
    planned = plan.with_corpus(request, Corpus({}, (), kept))
    assert planned.planned_turns == 2


def test_a_corpus_that_changed_is_not_resumed(tmp_path: Path, scenario: Path) -> None:
    """If the plan moved the finished turns, the rest would not complete the run."""
    request = plan.plan_resumed_run(unfinished(tmp_path, scenario, calls=(1, 2)))
    other = request.scenario.model_copy(update={"turns": request.scenario.turns[:1]})
    with pytest.raises(RunFolderError, match="the corpus no longer has there"):
        plan.with_corpus(request, Corpus({}, (), other))


def test_a_scenario_changes_the_profile_that_it_names(scenario: Path) -> None:
    """What it can't do without; the user's word goes before it, and other profiles stay as they are."""
    scenario.write_text(SCENARIO + "agent_settings: {scripted: {llm.reply: 'One: two.', llm.max_tokens: 40}}\n")
    own = plan.plan_run(str(scenario), profile="scripted").profile
    changed = plan.plan_run(str(scenario), profile="scripted", overrides=("llm.max_tokens=9",)).profile
    other = plan.plan_run(str(scenario), profile="cpu").profile
    assert own is not None
    assert changed is not None
    assert other is not None
    assert (own.llm.max_tokens, changed.llm.max_tokens, other.llm.max_tokens) == (40, 9, 24)
    assert own.model_dump()["llm"]["reply"] == "One: two."


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("scripted: {llm.wit: 3}", r":4: `agent_settings.scripted`, `llm.wit`: unknown key `llm.*wit`"),
        ("scripted: {lm.wit: 3}", r":4: `agent_settings.scripted`, `lm.wit`: no section `lm`"),
        ("scripted: {llm.max_tokens: many}", r":4: `agent_settings.scripted`, `llm.max_tokens`: .*whole number"),
        ("cpuu: {llm.max_tokens: 3}", r":4: `agent_settings`: no profile 'cpuu'; did you mean `cpu`\?"),
    ],
)
def test_a_setting_that_no_profile_has_is_the_scenarios_fault(scenario: Path, settings: str, message: str) -> None:
    """The message names file, line and key, and no option that was not typed."""
    scenario.write_text(SCENARIO + f"agent_settings: {{{settings}}}\n")
    with pytest.raises(ScenarioError, match=r"small\.scenario\.yaml" + message) as caught:
        plan.plan_run(str(scenario), profile="scripted")
    assert "--set" not in str(caught.value)


def test_a_profile_of_ones_own_may_have_settings(scenario: Path) -> None:
    """Its name need not be one that ships, and it is not the one that is run now."""
    scenario.write_text(SCENARIO + "agent_settings: {our-desk: {llm.max_tokens: 3}}\n")
    assert plan.plan_run(str(scenario), profile="scripted").profile is not None


def test_a_scenario_given_as_an_object_is_stored_in_the_run_folder(tmp_path: Path) -> None:
    """It has no file of its own, and an interrupted run of it can be resumed all the same."""
    made = Scenario(name="made", warm_up_turns=1, turns=(Turn(id="a", say="one"), Turn(id="b", say="two: 'three'")))
    request = plan.plan_run(made, profile="scripted")
    assert str(request.scenario_path) == store.SCENARIO
    assert request.scenario_text is not None
    record = builders.run_record([]).model_copy(
        update={
            "complete": False,
            "profile": "scripted",
            "profile_data": request.profile_data,
            "scenario_path": str(request.scenario_path),
            "scenario_sha256": request.scenario_sha256,
            "seed": request.seed,
            "planned_turns": request.planned_turns,
        }
    )
    path = RunFolder.create(tmp_path / "results", "run", record, request.scenario_text).path
    resumed = plan.plan_resumed_run(path)
    assert resumed.scenario == made
    assert resumed.missing == request.calls
    assert resumed.scenario_path == request.scenario_path


def test_objects_are_taken_as_such(tmp_path: Path, scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Profile, budget and network, and a scenario's audio from the working folder."""
    profile = profiles.load("scripted").model_copy(update={"name": "mine"})
    budget = Budget(name="mine", limits=(Limit(metric="turn_gap_ms", at_most=300),))
    network = NetworkProfile(name="slow", uplink=Direction(delay_ms=20))
    scenario_of_tones(tmp_path, 1)
    monkeypatch.chdir(tmp_path)
    made = Scenario(name="made", gate=True, turns=(Turn(audio=Path("tone0.wav")),))
    request = plan.plan_run(
        made, profile=profile, overrides=("endpointing.min_silence_ms=250",), budget=budget, networks=[network]
    )
    assert request.profile is not None
    assert (request.profile.name, request.profile.endpointing.min_silence_ms) == ("mine", 250)
    assert (request.budget, request.networks) == (budget, (network,))
    assert request.scenario.turns[0].audio == tmp_path / "tone0.wav"
    gone = Scenario(name="made", turns=(Turn(audio=Path("gone.wav")),))
    with pytest.raises(ScenarioError, match=r"scenario 'made'.*'audio:gone.wav': .*gone\.wav"):
        plan.plan_run(gone, profile="scripted")


def test_an_object_that_cannot_be_measured_is_named_in_the_message() -> None:
    """It has no file and no line."""
    made = Scenario(name="made", agent_settings={"scriptid": {"a.b": 1}}, turns=(Turn(say="one"),))
    with pytest.raises(ScenarioError, match="scenario 'made': `agent_settings`: no profile 'scriptid'"):
        plan.plan_run(made, profile="scripted")
    with pytest.raises(ScenarioError, match=r"^scenario 'made': .*gate: true"):
        plan.plan_run(Scenario(name="made", turns=(Turn(say="one"),)), profile="scripted", budget="sub500")


def test_an_impossible_verdict_is_known_before_the_first_call() -> None:
    """Too few turns for the budget's bounds; limits that only spans tell, of an agent that may send none."""
    few = plan.list_warnings(plan.plan_run("gate", profile="scripted", budget="edge500", options=Options(n_turns=2)))
    assert len(few) == 1
    assert "at least 91 turns, and 2 are planned" in few[0]  # so many words show a word error rate of 5 %
    url = plan.list_warnings(plan.plan_run("gate", url="ws://127.0.0.1:1/", budget="edge500"))
    assert len(url) == 1
    assert "`wer`" in url[0]
    assert plan.AUDIO_BUDGET in url[0]
    assert plan.list_warnings(plan.plan_run("gate", url="ws://127.0.0.1:1/", budget=plan.AUDIO_BUDGET)) == []
    assert plan.list_warnings(plan.plan_run("gate", profile="scripted", options=Options(n_turns=2))) == []
    strict = Budget(name="strict", limits=(Limit(metric="cut_off_rate", at_most=0.01),))
    assert "at least 299 turns" in plan.list_warnings(plan.plan_run("gate", profile="scripted", budget=strict))[0]


@pytest.mark.parametrize("turns", [None, 3, 2])
def test_a_budget_is_judged_in_the_scenarios_own_order(scenario: Path, turns: int | None) -> None:
    """Another seed could be searched for until the first turns are good ones; its own, or no budget, are accepted."""
    scenario.write_text(SCENARIO + "gate: true\n")
    budget = Budget(name="edge", limits=(Limit(metric="turn_gap_ms", at_most=500),))

    def planned(seed: int | None, judged: Budget | None = budget) -> Request:
        options = Options(seed=seed, n_turns=turns)
        return plan.plan_run(str(scenario), profile="scripted", budget=judged, options=options)

    with pytest.raises(UsageError, match=r"^--seed 7: .*own seed, 1: .*drop --seed or --budget") as error:
        planned(7)
    assert error.value.code == "usage.seed"
    assert planned(1).calls == planned(None).calls
    assert planned(7, None).redraws_subset == (turns == 2)


def test_another_seed_is_noted(scenario: Path) -> None:
    """Other turns of the scenario, or the same in another order: run.json, terminal and report have it as a note."""
    for turns, said in ((2, "2 of the scenario's 3 turns"), (None, "another order")):
        options = Options(seed=7, n_turns=turns)
        notes = agent_run._request_notes(plan.plan_run(str(scenario), profile="scripted", options=options))
        assert any("seed 7" in note and said in note for note in notes)
    assert agent_run._request_notes(plan.plan_run(str(scenario), profile="scripted")) == []


def test_all_turns_needs_a_budget(scenario: Path) -> None:
    """Without one no run stops early."""
    with pytest.raises(UsageError, match="--all-turns"):
        plan.plan_run(str(scenario), profile="scripted", options=Options(all_turns=True))


def test_an_own_list_of_openings_is_noted(scenario: Path) -> None:
    """Whoever reads the time to the first content must know by which list; the shipped one in another order is none."""
    notes = agent_run._request_notes(plan.plan_run(str(scenario), profile="scripted"))
    assert OWN_OPENINGS not in notes
    for own, listed in (("[um]", True), (str(list(reversed(default_openings()))), False)):
        scenario.write_text(f"{SCENARIO}contentless: {own}\n")
        request = plan.plan_run(str(scenario), profile="scripted")
        assert (OWN_OPENINGS in agent_run._request_notes(request)) == listed
        assert request.scenario.own_openings == listed
