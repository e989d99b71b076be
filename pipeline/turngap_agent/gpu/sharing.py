"""Prepares the one GPU that the engines share: choose it, check it, and start MPS, before CUDA starts anywhere."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from turngap_agent.engines import EngineSettings, Placement
from turngap_agent.gpu import choice as choosing
from turngap_agent.gpu import faults, mps
from turngap_agent.gpu.choice import ChosenGpu, NoGpuError
from turngap_agent.gpu.mps import Mps
from turngap_agent.gpu.usage import describe_other_use
from turngap_agent.profile import Profile

_log = logging.getLogger("turngap.gpu")


class Sharing:
    """The GPU of a loaded profile; close it after the engines."""

    def __init__(
        self,
        choice: ChosenGpu,
        profile: Profile,
        daemon: Mps | None,
        environment: Mapping[str, str],
        aside: Path | None = None,
    ) -> None:
        """Set `environment`; `aside` is a folder that it names and that `close` removes."""
        self._aside = aside
        self.choice, self.mps = choice, daemon
        self._settings = profile.gpu
        self._external_llm = profile.llm.placement() is Placement.REMOTE
        self._before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)

    @classmethod
    async def open(cls, profile: Profile, choose: Callable[..., ChosenGpu] = choosing.choose) -> Self | None:
        """Prepare the GPU that `profile` uses, the only one that CUDA then sees; return None if it uses none.

        Raises:
            EngineError: there is no GPU, or not the one that is named, its mode forbids it, or MPS does not start.
        """
        placements = [settings.placement() for settings in profile.engines().values()]
        own, started = Placement.GPU in placements, placements.count(Placement.OWN_PROCESS)
        if not own and not started:
            return None
        try:
            choice = choose(profile.gpu.device)
        except NoGpuError:
            if own or profile.gpu.mps or profile.gpu.device is not None:
                raise
            return None  # an engine in a process of its own works without one
        choosing.check_mode(choice, own + started, mps=profile.gpu.mps)
        if choice.candidates > 1:
            _log.warning(
                "%d GPUs are here; %s, %s, is used; choose with gpu.device or CUDA_VISIBLE_DEVICES",
                choice.candidates,
                choice.label,
                choice.uuid,
            )
        if (other_use := describe_other_use(choice)) is not None:
            _log.warning("%s", other_use)
        daemon = await Mps.start(choice, profile.gpu) if profile.gpu.mps else None
        if daemon is not None:
            faults.WATCH.arm()
            return cls(choice, profile, daemon, daemon.environment)
        if aside := mps.keep_off_machine_mps():
            _log.warning("the engines do not join the MPS daemon of this machine: gpu.mps is false")
        folder = Path(aside["CUDA_MPS_PIPE_DIRECTORY"]) if aside else None
        return cls(choice, profile, None, choice.environment | aside, folder)

    def with_environment(self, settings: EngineSettings) -> EngineSettings:
        """An engine's settings, with what a process of its own needs in its environment to share the GPU."""
        if self.mps is None or settings.placement() is not Placement.OWN_PROCESS:
            return settings
        return settings.with_environment(self.mps.llm_environment)

    def facts(self) -> dict[str, Any]:
        """Return what the ready line reports: which GPU, and how it is shared."""
        return {
            "uuid": self.choice.uuid,
            "name": self.choice.name,
            "mps": self.mps is not None,
            "agent_active_thread_pct": self._settings.agent_active_thread_pct,
            "llm_active_thread_pct": self._settings.llm_active_thread_pct,
            "external_llm": self._external_llm,
        }

    async def check(self) -> None:
        """Check, once engines are loaded, that MPS is used if it was started.

        Raises:
            EngineError: the engines work without it.
        """
        if self.mps is not None:
            await self.mps.check_used()

    async def close(self) -> None:
        """End MPS, and restore the environment."""
        faults.WATCH.disarm()
        if self.mps is not None:
            await self.mps.stop()
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if self._aside is not None:
            shutil.rmtree(self._aside, ignore_errors=True)
