"""The documents of a run: its scenario and the agent's profile, given as objects, files or names of those that ship."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

import yaml
from turngap_agent import documents
from turngap_agent import profile as profiles
from turngap_agent.errors import ProfileError, ScenarioError
from turngap_agent.profile import Profile

from turngap import scenario as scenarios
from turngap.model.span_mapping import SpanMapping
from turngap.scenario import Scenario
from turngap.spans.mapping import load_mapping

SHIPPED = Path(__file__).resolve().parents[1] / "scenarios"
"""In the source tree and in an installation alike; the source tree has a link to `scenarios` there."""
DEFAULT_SCENARIO = "default"
DEFAULT_PROFILE = "cpu"
RECORDINGS = (".wav", ".flac", ".mp3", ".ogg", ".aiff", ".m4a")
"""Suffixes of audio files: one of them given as a scenario is a mistake that deserves a hint."""


def load_scenario(scenario: Scenario | Path | str) -> Scenario:
    """Return the scenario given as an object, a file, or the name of one that ships.

    Raises:
        ScenarioError: there is no such scenario, or it is malformed.
    """
    return scenario if isinstance(scenario, Scenario) else scenarios.load_scenario_file(locate_scenario(str(scenario)))


def locate_scenario(scenario: str) -> Path:
    """Return the file of a scenario given by path, or by the name of one that ships.

    Raises:
        ScenarioError: there is no such scenario.
    """
    if Path(scenario).suffix.lower() in RECORDINGS:
        raise ScenarioError(
            f"{scenario}: a recording is no scenario; check it with `turngap label {shlex.quote(scenario)}`, then name "
            f"it in a file mine{scenarios.SUFFIX}: {{name: mine, turns: [{{audio: {scenario}, expect: its words}}]}}"
        )
    if "/" in scenario or scenario.endswith((".yaml", ".yml")):
        return Path(scenario).resolve()
    path = SHIPPED / f"{scenario}{scenarios.SUFFIX}"
    if not path.is_file():
        known = sorted(file.name.removesuffix(scenarios.SUFFIX) for file in SHIPPED.glob(f"*{scenarios.SUFFIX}"))
        choices = documents.list_choices(scenario, known)
        raise ScenarioError(f"no scenario {scenario!r}{choices} (or give a {scenarios.SUFFIX} file)")
    return path


def locate_recorded_scenario(folder: Path, recorded: str, sha256: str) -> Path:
    """Return the scenario file of the run or sweep in `folder`, whose record names it `recorded`.

    A run folder that stores its scenario names it by a relative path. Where the recorded file is gone, a shipped
    scenario with its name and content replaces it: an update of turngap may have moved it.
    """
    path = folder / recorded
    shipped = SHIPPED / path.name
    moved = not path.is_file() and shipped.is_file() and hash_file(shipped) == sha256
    return shipped if moved else path


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_scenario(scenario: Scenario | Path | str) -> tuple[Scenario, Path | None, str | None]:
    """Return the scenario, with its file or, of one given as an object, with the text that the run folder stores.

    Raises:
        ScenarioError: there is no such scenario, or it is malformed.
    """
    if not isinstance(scenario, Scenario):
        path = locate_scenario(str(scenario))
        return scenarios.load_scenario_file(path), path, None
    located = scenarios.resolve_audio(scenario, Path.cwd())
    data = located.model_dump(mode="json", exclude_none=True)
    return located, None, yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def load_profile(
    scenario: Scenario, path: Path | None, profile: Profile | Path | str, overrides: tuple[str, ...]
) -> Profile:
    """Return the profile with the changes of the scenario, then those of the user.

    Raises:
        ScenarioError: the scenario's changes do not fit the profile.
        ProfileError: there is no such profile, it is malformed, or the user's changes do not fit it.
    """
    base = profile if isinstance(profile, Profile) else profiles.load(str(profile))
    own = scenario.overrides(base.name)
    where = str(path) if path is not None else f"scenario {scenario.name!r}"

    def called(override: str) -> str:
        key = override.partition("=")[0]
        line = f":{documents.find_line(path, ('agent_settings', base.name, key))}" if path is not None else ""
        return f"{where}{line}: `agent_settings.{base.name}`, `{key}`"

    if own:
        try:
            profiles.change(base, own, called, f"the `agent_settings` of {where}")
        except ProfileError as error:
            raise ScenarioError(str(error)) from None
    return profiles.change(base, (*own, *overrides))


def check_profile_names(scenario: Scenario, path: Path | None, profile: str | None) -> None:
    """Refuse a profile name that is nearly one of those that ship; any other may be a profile of the user's own.

    Raises:
        ScenarioError: such a name is in the scenario's `agent_settings`.
    """
    for name in scenario.agent_settings:
        near = documents.find_nearest(name, profiles.names(), documents.NEAR_KEY)
        if near is not None and name not in (near, profile):
            place = f"scenario {scenario.name!r}"
            if path is not None:
                place = f"{path}:{documents.find_line(path, ('agent_settings', name))}"
            raise ScenarioError(f"{place}: `agent_settings`: no profile {name!r}; did you mean `{near}`?")


def select_mapping(spans: SpanMapping | Path | str | None, scenario: Scenario, path: Path | None) -> SpanMapping | None:
    """Return what the spans of an agent at a URL mean: as given, or as the scenario says; None if neither says it.

    Raises:
        UsageError: there is no such mapping, or it is malformed.
    """
    if isinstance(spans, SpanMapping):
        return spans
    if spans is not None:
        return load_mapping(str(spans))
    if scenario.spans is None:
        return None
    is_file = scenario.spans.endswith((".yaml", ".yml"))
    return load_mapping(
        str((path.parent if path is not None else Path.cwd()) / scenario.spans) if is_file else scenario.spans
    )
