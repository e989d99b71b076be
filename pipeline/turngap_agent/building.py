"""Builds one engine in this process: its packages are there, its threads fit the cores, and it stays on its own."""

from __future__ import annotations

from turngap_agent import worker
from turngap_agent.engines import EngineSettings, LoadedEngine
from turngap_agent.errors import EngineError


def build_here(settings: EngineSettings) -> LoadedEngine:
    """Return the engine of `settings`, loaded and cold; blocks.

    Raises:
        EngineError: it is not installed, or cannot run as its settings say.
        WeightsError: its model is missing and cannot be fetched.
    """
    stage, threads, most = settings.stage, getattr(settings, "threads", 1), worker.usable_cores()
    if threads > most:
        raise EngineError(
            f"{stage}: threads: {threads} are more than the {most} cores that the process may use, and would wait for "
            "each other; lower it in the profile"
        )
    settings.require_packages()
    # Libraries start threads of their own as they load, and those inherit the cores of the thread that loads.
    with worker.on_cores(getattr(settings, "cores", None), stage):
        return settings.build()
