"""What the samplers saw of a run's agent and machine, once its processes have ended: GPUs, health, energy."""

from __future__ import annotations

import os

from turngap_agent import tracing

from turngap.processes import energy, gpu_log, health_log, health_turns
from turngap.processes.proc_counters import CounterReader
from turngap.session.agent_processes import AgentProcesses
from turngap.session.agent_run import AgentRun
from turngap.store import folder as store


def record_gpus(agent_run: AgentRun, processes: AgentProcesses, ready_s: float) -> None:
    """Record the GPU figures, and notes on unused spans, of a run whose processes have ended.

    The peak of the memory counts from `ready_s` on, when all agents were ready, and that of resumed sessions.
    """
    progress, sampler, gpu = agent_run.progress, processes.sampler, processes.agent.ready.gpu
    progress.notes += processes.receiver.unused_span_notes()
    samples = agent_run.folder.path / store.GPU
    resumed = agent_run.request.resumed
    earlier = (resumed.record.gpus or ()) if resumed is not None else ()
    gpus = gpu_log.summarise_gpus(
        sampler.gpus, samples, gpu.uuid if gpu is not None else None, since_s=ready_s, earlier=earlier
    )
    agent_run.record = agent_run.record.model_copy(update={"gpus": gpus})
    if gpu is None:
        return
    progress.vram_peak_mib = gpu_log.peak_mib(sampler.gpus, samples, gpu.uuid, since_s=ready_s, earlier=earlier)
    sees_all = sampler.gpu_processes == "all"
    watch = gpu_log.watch_turns(samples, progress.turns, sampler.gpus, gpu.uuid, sees_all=sees_all)
    if watch is not None:
        watch = watch.model_copy(update={"external_llm": gpu.external_llm})
    progress.gpu_watch = watch


def record_health(agent_run: AgentRun, processes: AgentProcesses) -> None:
    """Add to the turns what held the agent's process up; nothing for an agent at a URL."""
    if not processes.agent.ours:
        return
    progress, folder, boot_id = agent_run.progress, agent_run.folder.path, tracing.read_boot_id()
    samples = health_log.read_samples(folder / store.HEALTH, boot_id)
    events = health_log.read_events(folder / tracing.HEALTH_LOG, boot_id)
    progress.turns = list(health_turns.add_health(progress.turns, boot_id, samples, events))
    # Our own process is in the same container as the agent was.
    progress.not_readable |= CounterReader(os.getpid()).not_readable
    if events is None:
        progress.not_readable["event loop"] = "the agent did not write its log"


def record_energy(agent_run: AgentRun, processes: AgentProcesses, ready_s: float) -> None:
    """Record the energy of this session's calls, from `ready_s` on; nothing for an agent at a URL."""
    if not processes.agent.ours:
        return
    progress, folder, sampler = agent_run.progress, agent_run.folder.path, processes.sampler
    device = next((gpu for gpu in sampler.gpus if gpu.uuid == processes.agent.gpu_uuid and gpu.uuid), None)
    not_readable = dict(progress.not_readable)
    if device is None:
        not_readable[energy.GPU] = sampler.no_gpu_reason or "the agent uses none"
    else:
        not_readable[energy.GPU] = "its driver counts no energy, or it is a MIG slice, which has no counter of its own"
    figures = energy.summarise_energy(
        health_log.read_samples(folder / store.HEALTH, tracing.read_boot_id()),
        energy.read_gpu_energy(folder / store.GPU, device.gpu, ready_s) if device is not None else None,
        since_s=ready_s,
        calls=progress.calls,
        answered_turns=progress.answered,
        call_s=progress.call_s,
        not_readable=not_readable,
    )
    if figures is not None:
        agent_run.record = agent_run.record.model_copy(update={"energy": figures})
