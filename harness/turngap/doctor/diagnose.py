"""Reads the facts, judges them, and says which commands will work: a diagnosis of the machine for one profile."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from turngap.clock import Clock
from turngap.doctor.abilities import list_abilities
from turngap.doctor.agent import judge_agent, read_agent
from turngap.doctor.checks import Diagnosis
from turngap.doctor.gpu import judge_gpus, read_gpus
from turngap.doctor.machine import judge_machine
from turngap.doctor.machine_facts import read_machine
from turngap.doctor.surroundings import judge_surroundings, read_surroundings


async def diagnose(
    profile: str, *, clock: Clock, results: Path = Path("results"), environment: Mapping[str, str] = os.environ
) -> Diagnosis:
    """Look at the machine for about two seconds; nothing is loaded, fetched or written.

    Raises:
        AgentError: the agent's program cannot tell what the profile needs.
    """
    agent_facts = read_agent(profile, environment)
    around_facts = read_surroundings(environment)
    machine = judge_machine(await read_machine(clock, results))
    gpus = judge_gpus(read_gpus(clock, environment=environment), needed=agent_facts.needs_gpu)
    agent, around = judge_agent(agent_facts), judge_surroundings(around_facts)
    abilities = list_abilities(agent_facts, machine, gpus, agent, around_facts)
    return Diagnosis(agent_facts.profile, (machine, gpus, agent, around), abilities)
