"""Whose the processes on a GPU are: this run's own, or foreign.

NVML names processes by number. A container has numbers of its own, and what a driver gives there is the host's numbers,
the container's, or nothing at all, as its age has it: what can't be told is None, never "nobody".
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import psutil

_INITIAL = "pid:[4026531836]"
"""The first namespace of process numbers (PROC_PID_INIT_INO in linux/proc_ns.h): all processes are seen from it."""
_MPS = "nvidia-cuda-mps"
"""MPS's own processes do no work of theirs; its clients are named themselves."""


class GpuProcesses:
    """Tells the processes below `root` from others."""

    def __init__(self, root: int, *, initial_namespace: bool) -> None:
        """`root` is the process whose children, however far down, are ours."""
        self.initial_namespace = initial_namespace
        """The processes of the whole machine are seen, and under the numbers that NVML gives."""
        self._root = root
        self._kin: dict[int, bool | None] = {}
        self._before: set[int] = set()
        self._translated = initial_namespace

    @classmethod
    def of_this_process(cls) -> Self:
        """For the sampler: the run that started it is its parent."""
        try:
            space = str(Path("/proc/self/ns/pid").readlink())
        except OSError:
            space = ""
        return cls(os.getppid(), initial_namespace=space == _INITIAL)

    def note_earlier(self, pids: Iterable[int] | None) -> None:
        """These were there before the agent started, so they are not its, whatever a container's numbers mean."""
        if self.initial_namespace:
            return  # kinship tells it, and numbers are given again
        self._before.update(pid for pid in pids or () if not self._ours(pid))

    def list_foreign(self, pids: Iterable[int] | None) -> list[str] | None:
        """Of these, the ones that are not ours, as "PID NAME"; None where that cannot be told."""
        if pids is None:
            return None
        found, unknown = [], False
        kin = {pid: self._ours(pid) for pid in pids}
        # One of ours among them shows that the numbers are those of this namespace.
        self._translated = self._translated or any(kin.values())
        for pid, ours in kin.items():
            if ours or (name := _name(pid)).startswith(_MPS):
                continue
            if pid in self._before:
                found.append(f"{pid} {name}".strip())
            elif not self._translated:
                unknown = True
            elif name:
                found.append(f"{pid} {name}")
            elif not self.initial_namespace:
                found.append(f"{pid} outside this container")
            # Else it has ended since.
        return None if unknown and not found else found

    def _ours(self, pid: int) -> bool:
        known = self._kin.get(pid)
        if known is None:
            try:
                process = psutil.Process(pid)
                known = pid == self._root or any(parent.pid == self._root for parent in process.parents())
            except psutil.Error:
                return False  # not kept: it may be another's number next time
            self._kin[pid] = known
        return known


def _name(pid: int) -> str:
    """Of a process of this namespace; "" where there is none of that number."""
    try:
        name = psutil.Process(pid).name()
    except psutil.Error:
        return ""
    return "".join(letter for letter in name if letter.isprintable() and letter != "+")[:40]
