"""Whole runs as jobs of a Ray cluster, one agent and at most one GPU each: the settings of a sweep at the same time."""

from __future__ import annotations

import asyncio
import io
import os
import pickle
import subprocess
import tempfile
import zipfile
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any

from turngap_agent import files
from turngap_agent.errors import HarnessError, RunFolderError, TurngapError, UsageError, one_line

from turngap.clock import Clock
from turngap.cluster.ray_cluster import Node, import_ray
from turngap.cluster.trial_process import Trial
from turngap.corpus.clips import Corpus
from turngap.processes import child
from turngap.session.runner import ProgressDisplay
from turngap.store import folder as store
from turngap.sweeps import folder as sweep_folder
from turngap.sweeps import plan
from turngap.sweeps.plan import SweepRequest
from turngap.sweeps.runner import FinishedSweep

MODULE = "turngap.cluster.trial_process"
CPUS = 2
"""Of a trial: the agent and its caller."""
ELSEWHERE = (
    "each setting was measured by a job of its own on a Ray cluster, not call by call in alternation: a difference "
    "between settings may be one between machines, or moments"
)
_LOG_BYTES = 4096


def needs_gpu(profile: Mapping[str, Any]) -> bool:
    """Return whether an engine of the profile, given as data, works on a GPU of the agent's machine."""
    sections = [section for section in profile.values() if isinstance(section, Mapping) and "engine" in section]
    return any(
        str(section.get("device", "")).startswith("cuda")
        or ("gpu_memory_share" in section and section.get("url") is None)
        for section in sections
    )


async def run_sweep(
    request: SweepRequest,
    corpus: Corpus,
    nodes: Sequence[Node],
    display: ProgressDisplay,
    *,
    clock: Clock,
    stop: asyncio.Event,
) -> FinishedSweep:
    """Run the settings of a sweep as jobs on the cluster; a setting whose job is lost is left for a resumed sweep.

    Raises:
        UsageError: no node has what a job takes, or a setting was begun without Ray; nothing was started.
        HarnessError: the sweep's folder can't be written.
    """
    _check_begun(request)
    gpus = float(any(needs_gpu(member.row.profile_data) for member in request.members))
    _check_resources(nodes, gpus)
    request = plan.with_folder(request, clock.unix_ns())
    path = request.path
    assert path is not None
    trials = [
        Trial(member.row.name, member.row.slug, member.request, corpus, (*member.notes, ELSEWHERE))
        for member in request.members
    ]
    display.show_message(f"warning: {ELSEWHERE}")
    display.show_start(sum(member.request.planned_turns for member in request.members))
    try:
        errors = await _run_trials(trials, path, gpus, display, stop)
    finally:
        if request.lock is not None:
            request.lock.release()
    record = sweep_folder.updated_record(path, request.record)
    sweep_folder.write_sweep(path, record)
    return FinishedSweep(record, path, errors[0] if errors else None)


async def _run_trials(
    trials: Sequence[Trial], path: Path, gpus: float, display: ProgressDisplay, stop: asyncio.Event
) -> list[TurngapError]:
    """Submit all at once: Ray places each as soon as there is room. Return what went wrong."""
    ray = import_ray()
    task = ray.remote(do_trial).options(num_cpus=CPUS, num_gpus=gpus, max_retries=0)
    jobs = {trial.name: task.remote(pickle.dumps(trial, protocol=5)) for trial in trials}
    stopped, errors = asyncio.create_task(_wait_all([stop.wait()])), list[TurngapError]()

    async def follow(trial: Trial) -> None:
        try:
            error, archive = await jobs[trial.name]
        except ray.exceptions.RayError as loss:
            error, archive = f"its job was lost ({type(loss).__name__}: {one_line(loss, 200)})", b""
        if archive:
            unpack_run(archive, path, trial.folder_name)
            error = find_end(path / trial.folder_name)
        if error:
            errors.append(HarnessError(f"{trial.name}: {error}; resume the sweep to measure it"))
            display.show_message(f"{trial.name}: {error}")
        else:
            display.show_message(f"{trial.name}: measured")

    follows = [asyncio.create_task(follow(trial)) for trial in trials]
    try:
        ended = asyncio.create_task(_wait_all(follows))
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            for job in jobs.values():
                ray.cancel(job, force=True)
            errors.append(HarnessError("the sweep was interrupted; resume it", code="harness.interrupted"))
        await ended
    finally:
        stopped.cancel()
    return errors


async def _wait_all(works: Sequence[Awaitable[object]]) -> None:
    await asyncio.gather(*works)


def do_trial(data: bytes) -> tuple[str, bytes]:
    """Do a trial on this node, in a process without Ray; return an error in a line, and the run's folder, packed."""
    with tempfile.TemporaryDirectory(prefix="turngap-trial-") as folder:
        command = child.leashed(child.python_command(MODULE, folder))
        environment = child.plain_environment(fetches=True)
        done = subprocess.run(command, input=data, stderr=subprocess.PIPE, env=environment, check=False)
        if done.returncode:
            lines = done.stderr[-_LOG_BYTES:].decode("utf-8", "replace").strip().splitlines()
            return lines[-1].removeprefix("turngap: error: ") if lines else f"exit code {done.returncode}", b""
        return "", pack_folder(Path(folder))


def find_end(run: Path) -> str:
    """Return why a run ended before its last call, as its record says; "" if it is complete."""
    record = store.read_run(run).record
    if record.complete:
        return ""
    return record.reasons[0] if record.reasons else "it ended before its last call"


def pack_folder(folder: Path) -> bytes:
    """Return the folder's content as a zip archive, without locks."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not file.is_symlink() and file.name != ".lock":
                archive.write(file, str(file.relative_to(folder)))
    return buffer.getvalue()


def unpack_run(data: bytes, path: Path, name: str) -> None:
    """Make the run's folder in `path`: it has its name only once it is whole.

    Raises:
        HarnessError: it can't be written.
    """
    draft = path / f".{name}.{os.getpid()}"
    try:
        draft.mkdir()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(draft)
        (draft / name).rename(path / name)
        draft.rmdir()
        files.sync_folder(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise HarnessError(f"{path / name}: cannot be written ({one_line(error)})") from None


def _check_begun(request: SweepRequest) -> None:
    begun = [member.row.name for member in request.members if member.request.resumed is not None]
    if begun:
        raise RunFolderError(f"{request.path}: setting {begun[0]} was begun: resume without --ray")


def _check_resources(nodes: Sequence[Node], gpus: float) -> None:
    if not any(node.cpus >= CPUS and node.gpus >= gpus for node in nodes):
        wanted = f"{CPUS} cores" + (" and a GPU" if gpus else "")
        raise UsageError(
            f"no node of the cluster has {wanted}, which each setting takes: "
            + "; ".join(f"{node.label}: {node.cpus:g} cores, {node.gpus:g} GPUs" for node in nodes),
            code="usage.cluster",
        )
