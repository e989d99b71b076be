"""Recordings in Debian packages: downloaded by apt-get into a private state, without root and without an install.

apt's own mirrors, proxies and signatures count. A package's bytes differ between distributions, so what is pinned is
the set of files inside.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from pathlib import Path

from pipeline.errors import WeightsError
from pipeline.pins import DebianSource, Pin
from pipeline.sources.progress import Progress


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
            f"{pin.name}: {missing[0]} is not here, and it comes as Debian packages ({', '.join(source.packages)}): "
            "run it on Debian or Ubuntu, or copy this entry's cache folder from there (docs/weights.md)"
        )
    state = partial / "apt"
    options = _private(state)
    progress.note(f"{pin.name}: reading Debian's package lists")
    _run(["apt-get", *options, "--quiet=2", "update"], pin.name, state)
    _download(pin, source, options, state, progress)
    unpacked = state / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    for package in state.glob("*.deb"):
        _run(["dpkg-deb", "--extract", str(package), str(unpacked)], pin.name, state)
    for item in source.unpack:
        _place(unpacked / item.source_path, into / item.path, pin.name)
    shutil.rmtree(state)


def _private(state: Path) -> list[str]:
    """Options that keep lists, cache and lock files in `state`; what is installed is read, never written."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    values = {
        "Dir::State": str(state),
        "Dir::State::lists": str(state / "lists"),
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": str(state / "cache"),
        "Dir::Log": str(state),
        # As root, apt would download as the user _apt, who may not write here.
        "APT::Sandbox::User": "root",
        "Acquire::Retries": "3",
        "Acquire::http::Timeout": "30",
    }
    return [part for key, value in values.items() for part in ("-o", f"{key}={value}")]


def _download(pin: Pin, source: DebianSource, options: list[str], state: Path, progress: Progress) -> None:
    uris = _run(["apt-get", *options, "--print-uris", "download", *source.packages], pin.name, state)
    # 'URI' FILE SIZE DIGEST, a line a package
    total = sum(int(line.split()[2]) for line in uris.splitlines() if line.startswith("'"))
    progress.begin(f"{pin.name} (Debian {', '.join(source.packages)})", total)
    try:
        _run(["apt-get", *options, "--quiet=2", "download", *source.packages], pin.name, state)
        progress.advance(total)
    finally:
        progress.end()


def _run(command: list[str], name: str, state: Path) -> str:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, cwd=state, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    said = [line for line in done.stderr.splitlines() if line.startswith(("E: ", "W: Failed", "dpkg-deb: error"))]
    if done.returncode == 0 and not any(line.startswith("W: Failed") for line in said):
        return done.stdout
    if "No space left on device" in done.stderr:
        raise WeightsError(f"{name}: the disk of {state} is full: make room, or set TURNGAP_CACHE to another disk")
    reason = said[0].partition(": ")[2] if said else f"code {done.returncode}"
    raise WeightsError(
        f"{name}: {command[0]} failed ({reason}): check the network and /etc/apt/sources.list, "
        "or copy this entry's cache folder from another machine (docs/weights.md)"
    )


def _place(found: Path, target: Path, name: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if found.is_dir():
        shutil.copytree(found, target)
    elif found.is_file() and found.suffix == ".gz":
        target.write_bytes(gzip.decompress(found.read_bytes()))
    elif found.is_file():
        shutil.copyfile(found, target)
    else:
        raise WeightsError(f"{name}: the Debian package has no {found.name}: another version than the pinned one")
