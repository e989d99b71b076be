"""`turngap stage`: sends a scenario's callers to the agent's own program, which measures one engine, and shows it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console
from turngap_agent import tracing
from turngap_agent.errors import AgentError, UsageError
from turngap_agent.profile import Profile
from turngap_agent.telephony import SAMPLE_RATE, mulaw

from turngap import api
from turngap.caller.comfort_noise import make_comfort_noise
from turngap.cli.stage_text import format_stage
from turngap.corpus import clips as corpus
from turngap.corpus.clips import Corpus
from turngap.processes import child, health_log
from turngap.progress import PipeConsole
from turngap.store import disk, stack_samples
from turngap.traces import stage_trace

MODULE = "turngap_agent"


@dataclass(frozen=True, slots=True)
class StageRequest:
    """The options of the command line."""

    stage: str
    profile: str = "cpu"
    scenario: str = "default"
    overrides: tuple[str, ...] = ()
    repeats: int = 20
    cadence: str | None = None
    busy: bool = False
    beside: str | None = None
    place: str = "thread"
    floor: bool = True
    trace: Path | None = None
    """Where to write a trace."""

    def arguments(self, profile_file: Path) -> list[str]:
        """Return those of the agent's program."""
        listed = ["stage", self.stage, "--profile", str(profile_file), "--repeats", str(self.repeats)]
        listed += ["--in", self.place, "--floor" if self.floor else "--no-floor"]
        listed += ["--busy"] if self.busy else []
        listed += ["--cadence", self.cadence] if self.cadence is not None else []
        return listed + (["--beside", self.beside] if self.beside is not None else [])


def run(options: StageRequest, *, as_json: bool) -> int:
    """Measure the stage and print it; return the exit code: that of the agent's program.

    Raises:
        UsageError: (or a subclass) scenario, profile or an option is wrong.
        AgentError: the agent's program printed no result.
    """
    errors = PipeConsole(stderr=True)
    if options.trace is not None:
        check_trace_file(options.trace)
    agent = api.Agent(source=options.profile, overrides=options.overrides)
    request = api.make_request(options.scenario, agent=agent)
    assert request.profile is not None
    spoken = {turn.key for turn in request.scenario.turns if turn.has_words}
    if not spoken:
        raise UsageError(f"scenario {request.scenario.name!r} has no spoken turn: a stage has nothing to work on")
    code, _ = measure(options, request.profile_data, None)
    if code:
        return code
    clips = corpus.build_corpus(request.scenario, lambda line: _show(errors, f"turngap: {line}"))
    inputs = make_inputs(clips, request.profile, options.repeats)
    code, document = measure(options, request.profile_data, inputs)
    if document is None:
        return code
    if options.trace is not None:
        _show(errors, f"turngap: trace: {options.trace}; open it in ui.perfetto.dev")
    document["scenario"] = request.scenario.name
    if as_json:
        print(json.dumps(document, indent=2))
    else:
        print_stage(document, PipeConsole())
    return code


def measure(
    options: StageRequest, profile: dict[str, Any], inputs: dict[str, Any] | None
) -> tuple[int, dict[str, Any] | None]:
    """Run the agent's program; return its exit code and its document, None where it has printed an error instead.

    Without `inputs` it only checks the options.

    Raises:
        AgentError: it printed neither.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{profile['name']}.yaml"
        file.write_text(yaml.safe_dump(profile, sort_keys=False), "utf-8")
        check = ["--check"] if inputs is None else []
        done = subprocess.run(
            child.leashed(child.python_command(MODULE, *options.arguments(file), *check)),
            input=json.dumps(inputs),
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            env=_environment(folder if options.trace is not None else None),
        )
        if options.trace is not None and inputs is not None and done.returncode == 0:
            write_trace(options, Path(folder), profile["name"])
    if inputs is None or (done.returncode > 0 and not done.stdout):
        return done.returncode, None
    try:
        document: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise AgentError(
            f"stage {options.stage}: the engine's process ended with code {done.returncode} and no result; see above"
        ) from None
    return done.returncode, document


def check_trace_file(file: Path) -> None:
    """Check that a trace can be written there, before minutes of measuring.

    Raises:
        UsageError: it is a folder, or its folder does not exist or can't be written.
    """
    if file.is_dir():
        raise UsageError(f"--trace {file}: a folder; name the file, such as {file / 'trace.json'}")
    if not file.absolute().parent.is_dir():
        raise UsageError(f"--trace {file}: there is no folder {file.absolute().parent}; make it first")
    if not os.access(file.absolute().parent, os.W_OK):
        raise UsageError(f"--trace {file}: its folder can't be written; choose another")


def write_trace(options: StageRequest, folder: Path, profile: str) -> None:
    """Write the trace of what the stage's process left in `folder`.

    Raises:
        AgentError: it left nothing, or torch's profiler left no trace.
        HarnessError: the file can't be written.
    """
    assert options.trace is not None
    units, parts = stage_trace.read_parts(folder)
    stacks = stack_samples.read_stack_samples(folder)
    events = health_log.read_events(folder / tracing.HEALTH_LOG, tracing.read_boot_id()) or ()
    about = {"stage": options.stage, "profile": profile, "threads": "sampled 100 times a second"}
    of_torch = stage_trace.read_torch_trace(folder)
    disk.replace_file(options.trace, stage_trace.render_stage_trace(units, parts, stacks, events, about, of_torch))


def _environment(trace_folder: str | None) -> dict[str, str]:
    """Return the environment of the stage's process: it writes a trace into the folder that is named there."""
    own = {name: value for name, value in os.environ.items() if name != tracing.OUTPUT_FOLDER}
    if trace_folder is None:
        return own
    # The library under torch's profiler prints errors of its own where there is no GPU; 99 is over all its levels.
    return {"KINETO_LOG_LEVEL": "99", **own, tracing.OUTPUT_FOLDER: trace_folder}


def make_inputs(clips: Corpus, profile: Profile, most: int) -> dict[str, Any]:
    """Return the document of the inputs: what the agent hears of each utterance, and its words.

    The audio goes on after the speech for as long as the profile waits before it begins to work.
    """
    ending = profile.endpointing
    silence_ms = ending.min_silence_ms if ending.policy == "silence" else ending.provisional_ms
    noise = make_comfort_noise(silence_ms * SAMPLE_RATE // 1000, clips.scenario.seed)
    listed = []
    for turn in [turn for turn in clips.scenario.turns if turn.has_words][:most]:
        clip = clips.clips[turn.key]
        heard = mulaw.encode(np.concatenate([clip.pcm, noise]))
        listed.append(
            {"key": turn.key, "words": clip.transcript or "", "mulaw": base64.b64encode(heard).decode("ascii")}
        )
    return {"clips": listed}


def print_stage(document: dict[str, Any], console: Console) -> None:
    """Print a measured stage for people."""
    for line in format_stage(document):
        _show(console, line)


def _show(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
