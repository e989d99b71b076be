"""Fetches what a session needs before it starts: the agent's models, and the callers' audio with its labels."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from typing import Any

import yaml
from turngap_agent.errors import WeightsError

from turngap.corpus import clips as corpus
from turngap.corpus.clips import Corpus
from turngap.processes import child
from turngap.session import plan
from turngap.session.request import Request


def prepare(request: Request, show_message: Callable[[str], None]) -> tuple[Request, Corpus]:
    """Fetch what the agent and the callers need; return the request for the utterances that can be used.

    Raises:
        WeightsError: a model could not be fetched; without a message, for the command has printed its own.
        ScenarioError: an utterance of the scenario can't be made.
    """
    if request.profile is not None:
        fetch_weights(request.profile_data)
    clips = corpus.build_corpus(request.scenario, show_message)
    return plan.with_corpus(request, clips), clips


def fetch_weights(profile: dict[str, Any]) -> None:
    """Fetch the models of a profile with the agent's own command and its progress display, so that its start is fast.

    Raises:
        WeightsError: a model could not be fetched, or this machine can't run the profile; without a message, for the
            command has printed its own.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        yaml.safe_dump(profile, file)
        file.flush()
        command = child.python_command("turngap_agent", "weights", "pull", "--here", file.name)
        environment = child.plain_environment(fetches=True)
        completed = subprocess.run(command, stdout=subprocess.DEVNULL, env=environment, check=False)
    if completed.returncode:
        raise WeightsError
