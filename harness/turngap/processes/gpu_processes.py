"""Distinguishes a run's own processes on a GPU from foreign ones.

NVML reports process ids. In a container, which has its own ids, a driver reports the host's ids, the container's, or
none, depending on its age. So "unknown" is None, which is different from "no foreign process".
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import psutil

_INITIAL = "pid:[4026531836]"
"""The initial namespace of process ids (PROC_PID_INIT_INO in linux/proc_ns.h): it shows all processes."""
_MPS = "nvidia-cuda-mps"
"""Prefix of MPS's own processes: the work is that of its clients, which are listed themselves."""


class GpuProcesses:
    """Tells the descendants of `root` from other processes."""

    def __init__(self, root: int, *, initial_namespace: bool) -> None:
        """`root` is the process whose descendants are our own."""
        self.initial_namespace = initial_namespace
        """True if the processes of the whole machine are visible, under the ids that NVML reports."""
        self._root = root
        self._kin: dict[int, bool | None] = {}
        self._before: set[int] = set()
        self._translated = initial_namespace

    @classmethod
    def of_this_process(cls) -> Self:
        """Return one for the sampler, whose parent is the run."""
        try:
            space = str(Path("/proc/self/ns/pid").readlink())
        except OSError:
            space = ""
        return cls(os.getppid(), initial_namespace=space == _INITIAL)

    def note_earlier(self, pids: Iterable[int] | None) -> None:
        """Note processes from before the agent's start: they are foreign, whatever a container's ids mean."""
        if self.initial_namespace:
            return  # descent decides there, and ids are reused
        self._before.update(pid for pid in pids or () if not self._ours(pid))

    def list_foreign(self, pids: Iterable[int] | None) -> list[str] | None:
        """Return those of `pids` that are not ours, as "PID NAME"; None where that is unknown."""
        if pids is None:
            return None
        foreign, unknown = [], False
        kin = {pid: self._ours(pid) for pid in pids}
        # One of ours among them shows that the ids are those of this namespace.
        self._translated = self._translated or any(kin.values())
        for pid, ours in kin.items():
            if ours or (name := _process_name(pid)).startswith(_MPS):
                continue
            if pid in self._before:
                foreign.append(f"{pid} {name}".strip())
            elif not self._translated:
                unknown = True
            elif name:
                foreign.append(f"{pid} {name}")
            elif not self.initial_namespace:
                foreign.append(f"{pid} outside this container")
            # Otherwise it has ended since.
        return None if unknown and not foreign else foreign

    def _ours(self, pid: int) -> bool:
        ours = self._kin.get(pid)
        if ours is None:
            try:
                process = psutil.Process(pid)
                ours = pid == self._root or any(parent.pid == self._root for parent in process.parents())
            except psutil.Error:
                return False  # not cached: the id may be reused
            self._kin[pid] = ours
        return ours


def _process_name(pid: int) -> str:
    """Return the name of a process of this namespace; "" if there is none with that id."""
    try:
        name = psutil.Process(pid).name()
    except psutil.Error:
        return ""
    return "".join(letter for letter in name if letter.isprintable() and letter != "+")[:40]
