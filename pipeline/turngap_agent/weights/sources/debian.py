"""Recordings in Debian packages: downloaded by apt-get into a private folder, without root and without an install.

apt's own mirrors, proxies and signatures are used. A package's bytes differ between distributions, so the pin is the
set of files inside.
"""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from turngap_agent.errors import WeightsError
from turngap_agent.weights.pins import DebianSource, Pin
from turngap_agent.weights.sources.progress import Progress


def fetch(pin: Pin, into: Path, partial: Path, progress: Progress) -> None:
    """Put the pinned files and folders of the packages into the folder `into`.

    Raises:
        WeightsError: there is no apt-get, it finds or fetches no such package, or a package lacks a file.
        OSError: the file system refuses.
    """
    source = pin.source
    assert isinstance(source, DebianSource)
    missing = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise WeightsError(
            f"{pin.name} is in Debian packages ({', '.join(source.packages)}), and {missing[0]} is not installed: "
            "run it on Debian or Ubuntu, or copy this entry's cache folder from there (docs/weights.md)"
        )
    state = partial / "apt"
    options = _private(state)
    progress.note(f"{pin.name}: reading Debian's package lists")
    # One mirror of several may be down; an error only counts if the packages are not found.
    update_error = _run(["apt-get", *options, "--quiet=2", "update"], state).complaint
    _download(pin, source, options, state, progress, update_error)
    unpacked = state / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    for package in state.glob("*.deb"):
        _check(_run(["dpkg-deb", "--extract", str(package), str(unpacked)], state), pin.name, state)
    for item in source.unpack:
        _place(unpacked / item.source_path, into / item.path, pin.name)
    shutil.rmtree(state)


def _private(state: Path) -> list[str]:
    """Return options that keep lists, cache and lock files in `state`; the list of installed packages is only read."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    values = {
        "Dir::State": str(state),
        "Dir::State::lists": str(state / "lists"),
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": str(state / "cache"),
        "Dir::Log": str(state),
        # As root, apt would download as the user _apt, who cannot write here.
        "APT::Sandbox::User": "root",
        "Acquire::Retries": "3",
        "Acquire::http::Timeout": "30",
    }
    return [part for key, value in values.items() for part in ("-o", f"{key}={value}")]


def _download(
    pin: Pin, source: DebianSource, options: list[str], state: Path, progress: Progress, update_error: str
) -> None:
    listing = _run(["apt-get", *options, "--print-uris", "download", *source.packages], state)
    _check(listing, pin.name, state, update_error)
    # One line per package: 'URI' FILE SIZE DIGEST
    total = sum(int(line.split()[2]) for line in listing.lines if line.startswith("'"))
    done = 0

    def follow(line: str) -> None:
        # dlstatus:FILES:PERCENT:TEXT, on the descriptor that APT::Status-Fd names
        nonlocal done
        if line.startswith("dlstatus:"):
            now = int(total * float(line.split(":")[2]) / 100)
            progress.advance(now - done)
            done = now

    progress.begin(pin.name, total)
    try:
        command = ["apt-get", *options, "-o", "APT::Status-Fd=1", "--quiet=2", "download", *source.packages]
        _check(_run(command, state, follow), pin.name, state, update_error)
    finally:
        progress.end()


_DISK_FULL = ("No space left on device", "enough free space")


@dataclass(frozen=True, slots=True)
class _Result:
    """A command that has ended: its exit code, its output, and the first error it printed."""

    command: str
    code: int
    lines: tuple[str, ...]
    complaint: str
    disk_full: bool


def _run(command: list[str], state: Path, follow: Callable[[str], None] = lambda line: None) -> _Result:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    lines = []
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command,
            cwd=state,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                follow(line)
                lines.append(line)
        errors.seek(0)
        stderr = errors.read()
    messages = [line for line in stderr.splitlines() if line.startswith(("E: ", "W: Failed", "dpkg-deb: error"))]
    complaint = messages[0].partition(": ")[2] if messages else ""
    return _Result(command[0], process.returncode, tuple(lines), complaint, any(mark in stderr for mark in _DISK_FULL))


def _check(done: _Result, name: str, state: Path, update_error: str = "") -> None:
    if done.code == 0:
        return
    if done.disk_full:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(state))
    raise WeightsError(
        f"{name}: {done.command} failed ({update_error or done.complaint or f'code {done.code}'}): check the network "
        "and /etc/apt/sources.list, or copy this entry's cache folder from another machine (docs/weights.md)"
    )


def _place(unpacked: Path, target: Path, name: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if unpacked.is_dir():
        shutil.copytree(unpacked, target)
    elif unpacked.is_file() and unpacked.suffix == ".gz":
        target.write_bytes(gzip.decompress(unpacked.read_bytes()))
    elif unpacked.is_file():
        shutil.copyfile(unpacked, target)
    else:
        raise WeightsError(f"{name}: the Debian package has no {unpacked.name}: it is not the pinned version")
