"""What must be at hand before a session begins: the agent's models, and the caller's audio with its labels."""

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
from turngap.session.plan import Request


def prepare(asked: Request, says: Callable[[str], None]) -> tuple[Request, Corpus]:
    """Fetch what the agent and the callers need; the request is then for the utterances that can be used.

    Raises:
        WeightsError: a model could not be fetched; without a message, for the command has given its own.
        ScenarioError: something in the scenario can't be said.
    """
    if asked.profile is not None:
        fetch_weights(plan.profile_data(asked))
    clips = corpus.prepare(asked.scenario, says)
    return plan.with_corpus(asked, clips), clips


def fetch_weights(profile: dict[str, Any]) -> None:
    """Have the agent's own command fetch what a profile needs, with its progress, so that its start is no download.

    Raises:
        WeightsError: it could not, or this machine could not run the profile; without a message, for it has given its
            own.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        yaml.safe_dump(profile, file)
        file.flush()
        command = child.python("turngap_agent", "weights", "pull", "--here", file.name)
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise WeightsError
