"""Starts to watch the process's health, if whoever started the process named a folder for that."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from turngap_agent.errors import EngineError
from turngap_agent.health.loop_watch import LoopWatch
from turngap_agent.health.ring import StackRing
from turngap_agent.tracing import OUTPUT_FOLDER

_log = logging.getLogger("turngap.health")


def start_watch(*, sample_stacks: bool, environment: Mapping[str, str] = os.environ) -> LoopWatch | None:
    """Start to watch the running event loop; with `sample_stacks` also record what all threads do. None: no folder, as
    the agent was started by hand.

    Raises:
        EngineError: there is no room for the record of stacks, or no folder to put it into.
    """
    named = environment.get(OUTPUT_FOLDER)
    if named is None:
        if sample_stacks:
            raise EngineError(f"--sample-stacks: name the folder for the stacks in {OUTPUT_FOLDER}")
        return None
    folder = Path(named)
    ring = StackRing.create(folder) if sample_stacks else None
    try:
        watch = LoopWatch(folder, ring)
    except OSError as error:
        # The calls matter more than the log.
        _log.warning("%s: the process's health is not recorded: %s", folder, error.strerror or error)
        if ring is not None:
            ring.close()
        return None
    watch.start()
    return watch
