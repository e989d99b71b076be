"""Which commands will work here, from the facts. Pure."""

from __future__ import annotations

from turngap.doctor.agent import AgentFacts
from turngap.doctor.checks import Ability, Group, State, find_worst
from turngap.doctor.surroundings import SurroundingFacts


def list_abilities(
    agent: AgentFacts, machine: Group, gpus: Group, of_agent: Group, around: SurroundingFacts
) -> tuple[Ability, ...]:
    """Return the commands in the order in which a newcomer needs them."""
    loopback = State.PROBLEM if around.loopback_problem else State.OK
    starts = find_worst(loopback, _worst(of_agent), _worst_of_gpus(agent, gpus))
    own = "" if agent.profile == "cpu" else f" --profile {agent.profile}"
    return (
        Ability(f"turngap run{own}", starts, _explain_start(agent, starts, around)),
        Ability(f"turngap run gate{own} --budget sub500", *_judge_gate(agent, starts, machine, around)),
        Ability("turngap run --url ws://HOST:PORT/PATH", loopback, around.loopback_problem),
        Ability(f"turngap serve{own}", starts, _explain_start(agent, starts, around)),
        Ability("turngap recording | label | report | compare | export", State.OK),
        _needs_extra("turngap export --format parquet", "parquet", around),
        _needs_extra("pytest --benchmark", "pytest", around),
        _needs_extra("turngap smoke --fake", "live", around),
        _judge_live(around),
        Ability("turngap talk", State.PROBLEM if around.sound_problem else starts, around.sound_problem),
    )


def _worst(group: Group) -> State:
    return find_worst(*(check.state for check in group.checks))


def _worst_of_gpus(agent: AgentFacts, gpus: Group) -> State:
    return _worst(gpus) if agent.needs_gpu else State.OK


def _explain_start(agent: AgentFacts, starts: State, around: SurroundingFacts) -> str:
    if starts is State.PROBLEM:
        return _first(around.loopback_problem, *agent.problems, "see the lines marked ✗ above")
    missing = [one.name for one in agent.weights if not one.here]
    return f"fetches {', '.join(missing)} first" if missing else ""


def _judge_gate(agent: AgentFacts, starts: State, machine: Group, around: SurroundingFacts) -> tuple[State, str]:
    if starts is State.PROBLEM:
        return starts, _explain_start(agent, starts, around)
    worst = find_worst(starts, _worst(machine))
    noisy = [check.name for check in machine.checks if check.state is not State.OK]
    return worst, f"may end INVALID: {', '.join(noisy)}" if noisy else ""


def _judge_live(around: SurroundingFacts) -> Ability:
    command = "turngap smoke"
    if "live" in around.missing_extras:
        return _needs_extra(command, "live", around)
    return Ability(command, State.PROBLEM if around.twilio_problem else State.OK, around.twilio_problem)


def _needs_extra(command: str, extra: str, around: SurroundingFacts) -> Ability:
    if extra not in around.missing_extras:
        return Ability(command, State.OK)
    return Ability(command, State.PROBLEM, f"pip install 'turngap[{extra}]'")


def _first(*reasons: str) -> str:
    return next(reason for reason in reasons if reason)
