"""A rented pod: what it is asked to be, the script that it runs, and the archive that it serves at its end."""

from __future__ import annotations

import base64
import io
import shlex
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from benchmarks.runpod_api import RunPodError

IMAGE = "runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404"
"""An image with Python 3.12, git and curl; torch and vLLM of the measurement are installed by tox."""
PORT = 8000
DISK_GB = 80
LOG = "pod-log.txt"
EXIT_CODE = "exit-code"


@dataclass(frozen=True, slots=True)
class Rental:
    """What is rented, and what runs on it.

    Attributes:
        repository: its address, which the pod can read.
        commit: what of it is measured.
        options: of `python -m benchmarks.gpu`.
        minutes: after so many the pod ends itself.
        token: names the pod, and the file with the results, which others cannot guess.
        variables: environment variables that the pod gets.
    """

    gpu: str
    cloud: str
    image: str
    repository: str
    commit: str
    options: tuple[str, ...]
    minutes: int
    token: str
    variables: dict[str, str]

    @property
    def name(self) -> str:
        """The pod's name, found again even if the answer to its creation was lost."""
        return f"turngap-{self.token[:8]}"

    @property
    def result(self) -> str:
        """Name of the archive that the pod serves at its end."""
        return f"{self.token}.zip"


def write_script(rental: Rental) -> str:
    """Return what the pod runs: the time limit, the measurement, and a web server with its archive."""
    measure_s = max(rental.minutes * 60 - 120, 60)  # the rest packs and serves the results
    return f"""\
end_pod() {{ runpodctl pod delete "$RUNPOD_POD_ID" || runpodctl remove pod "$RUNPOD_POD_ID"; }}
(sleep {rental.minutes * 60}; end_pod) &
mkdir -p /serve /src && cd /src
{{
  git init -q . && git fetch -q --depth 1 {shlex.quote(rental.repository)} {shlex.quote(rental.commit)} \\
    && git checkout -q FETCH_HEAD && python3 -m venv /venv && /venv/bin/pip install -q tox \\
    && timeout {measure_s} /venv/bin/tox -e gpu -- {shlex.join(rental.options)}
  echo $? > {EXIT_CODE}
}} > {LOG} 2>&1
mkdir -p results/gpu
(cd results && python3 -m zipfile -c /serve/part.zip gpu ../{LOG} ../{EXIT_CODE})
mv /serve/part.zip /serve/{rental.result}
cd /serve && exec python3 -m http.server {PORT}
"""


def make_request(rental: Rental) -> dict[str, Any]:
    """Return the body of the request that rents the pod (`CreatePodRequest`)."""
    script = base64.b64encode(write_script(rental).encode()).decode()
    return {
        "name": rental.name,
        "image": rental.image,
        "cloud": rental.cloud,
        "gpu": {"id": rental.gpu, "count": 1},
        "disk": DISK_GB,
        "ports": [f"{PORT}/http"],
        "env": rental.variables,
        "args": f"bash -c 'echo {script} | base64 -d | bash'",
    }


def unpack(content: bytes, out: Path) -> int:
    """Write the archive's `gpu/CARD/…` and its log below `out`; return the exit code in it.

    Raises:
        RunPodError: it is no archive of a measurement; nothing is written then.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = {PurePosixPath(name).name: name for name in archive.namelist()}
            code = int(archive.read(names[EXIT_CODE]))
            files = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, RuntimeError) as error:
        raise RunPodError(f"the pod's archive cannot be read: {error}") from error
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise RunPodError(f"the pod's archive has a file outside its folder: {name}")
    for name, data in files.items():
        path = PurePosixPath(name)
        target = out / path if path.parts[0] == "gpu" else out / "gpu" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    cards = sorted(
        {str(out / "gpu" / PurePosixPath(name).parts[1]) for name in files if len(PurePosixPath(name).parts) > 2}
    )
    print(", ".join(cards) or f"no results; what the pod printed is in {out / 'gpu' / LOG}")
    return code
