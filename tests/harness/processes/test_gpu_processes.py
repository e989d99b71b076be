"""Whose the processes on a GPU are: by kinship, and never guessed where a container hides it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from turngap.processes.gpu_processes import GpuProcesses

NOBODY = 2**22 + 1
"""Over the largest process number of Linux."""


@contextmanager
def child() -> Iterator[int]:
    """A process below this one, there until the end."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        yield process.pid
    finally:
        process.communicate(b"\n")


def test_what_the_run_started_is_its_own() -> None:
    """However far down: the root, and what is below it."""
    with child() as pid:
        assert GpuProcesses(os.getpid(), initial_namespace=True).list_foreign([os.getpid(), pid]) == []
        assert GpuProcesses(os.getppid(), initial_namespace=True).list_foreign([os.getpid(), pid]) == []


def test_others_are_named() -> None:
    """By number and name."""
    with child() as pid:
        (entry,) = GpuProcesses(pid, initial_namespace=True).list_foreign([pid, os.getpid()]) or ()
    assert entry.startswith(f"{os.getpid()} ")
    assert len(entry) > len(f"{os.getpid()} ")


def test_a_number_of_nobody() -> None:
    """Where all processes are seen it has just ended; in a container that knows its numbers it is outside."""
    assert GpuProcesses(os.getpid(), initial_namespace=True).list_foreign([NOBODY]) == []
    inside = GpuProcesses(os.getpid(), initial_namespace=False)
    assert inside.list_foreign([os.getpid(), NOBODY]) == [f"{NOBODY} outside this container"]


def test_a_containers_numbers_are_not_trusted_before_one_of_ours_is_seen() -> None:
    """The driver may give the host's numbers: then nothing is known, not even of a number that exists here."""
    inside = GpuProcesses(os.getpid(), initial_namespace=False)
    assert inside.list_foreign([NOBODY]) is None
    assert inside.list_foreign([os.getppid()]) is None
    assert inside.list_foreign([os.getpid(), os.getppid()]) is not None
    assert inside.list_foreign([]) == []


def test_earlier_processes_are_foreign_in_any_namespace() -> None:
    """Whatever its number means, it is not the agent's."""
    inside = GpuProcesses(os.getpid(), initial_namespace=False)
    inside.note_earlier([NOBODY])
    inside.note_earlier(None)
    assert inside.list_foreign([NOBODY, NOBODY + 1]) == [str(NOBODY)]


def test_not_available_is_unknown() -> None:
    """No list, no answer."""
    assert GpuProcesses(os.getpid(), initial_namespace=True).list_foreign(None) is None


def test_the_servers_of_mps_are_nobodys_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clients are listed themselves."""
    monkeypatch.setattr("turngap.processes.gpu_processes._process_name", lambda pid: "nvidia-cuda-mps-server")
    assert GpuProcesses(NOBODY, initial_namespace=True).list_foreign([os.getpid()]) == []
