"""The GPU's memory as NVML counts it for the whole device: torch does not see other libraries, and containers hide
processes from each other.

Engines load one after another, so the difference around a load is what that engine holds.
"""

from __future__ import annotations

from dataclasses import dataclass

from turngap_agent.gpu.choice import Choice

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Memory:
    """A device at one moment."""

    card: str
    total_mib: float
    used_mib: float

    @property
    def free_mib(self) -> float:
        """What a program can still have."""
        return self.total_mib - self.used_mib


class Device:
    """The chosen GPU, or the chosen slice of one, through NVML."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice

    def memory(self) -> Memory | None:
        """Now; None where it may not be read."""
        nvml = self._choice.nvml
        try:
            now = nvml.nvmlDeviceGetMemoryInfo(self._choice.handle)
        except nvml.NVMLError:
            return None
        return Memory(self._choice.name, now.total / _MIB, now.used / _MIB)
