"""Gathers what the turns need on a GPU machine without internet, beside torch and transformers, into one folder.

    python -m benchmarks.gpu_carry --out carry

Copy the folder next to the source tree there, and in the source's root run `. carry/use.sh`: it installs the wheels
beside the machine's own packages, unpacks the models and the caller's recordings, and sets PYTHONPATH and
TURNGAP_CACHE. Nothing of the machine's own is replaced.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MIB = 1 << 20
WHEELS, CACHE = "wheels.txt", "cache.tar.xz"
"""Wheels with the hashes that pip checks as it gathers them and as it installs them; models and recordings."""
MOST_MIB = 56.0
"""Of the folder: with the source tree it stays under 64 MiB."""
PROFILE = "weightless-hf"
CALLER = "asterisk-prompts"
SERVER = ("fastapi", "opentelemetry-exporter-otlp-proto-http", "opentelemetry-sdk", "uvicorn")
"""Packages of the extra `cpu` that every agent needs; the other ones belong to engines of other profiles."""
UNUSED = ("librosa",)
"""Requirements that only a caller's own recordings need."""
PLATFORMS = (*(f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 26, 24, 17)), "manylinux2014_x86_64")
# fmt: off
THERE = (
    "annotated-doc", "anyio", "certifi", "charset-normalizer", "click", "contourpy", "cycler", "fonttools",
    "h11", "httpcore", "httpx", "idna", "jinja2", "kiwisolver", "markdown-it-py", "markupsafe", "matplotlib",
    "mdurl", "numpy", "nvidia-ml-py", "onnx", "onnxruntime", "packaging", "pandas", "pillow",
    "prometheus-client", "psutil", "pygments", "pyparsing", "python-dateutil", "pyyaml", "requests", "rich",
    "scipy", "setuptools", "shellingham", "six", "tokenizers", "torch", "transformers", "typer",
    "typing-extensions", "urllib3",
)
# fmt: on
"""Packages that an image for machine learning has. Protobuf is not among them: its versions must match."""
USE = """# Source this file in the root of turngap's source: `. {name}/use.sh`
turngap_here=$(cd "$(dirname "${{BASH_SOURCE[0]:-$0}}")" && pwd)
turngap_site=${{TURNGAP_SITE:-/tmp/turngap}}
if [ ! -f "$turngap_site/complete" ]; then
  (cd "$turngap_here" && sha256sum --quiet -c SHA256SUMS) &&
    python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --require-hashes \\
      --find-links "$turngap_here/wheels" --target "$turngap_site/site" -r "$turngap_here/wheels.txt" &&
    mkdir -p "$turngap_site/cache" && tar -xf "$turngap_here/cache.tar.xz" -C "$turngap_site/cache" &&
    touch "$turngap_site/complete"
fi
case ":$PYTHONPATH:" in
  *":$turngap_site/site:"*) ;;
  *) export PYTHONPATH="$PWD:$PWD/harness:$PWD/pipeline:$turngap_site/site${{PYTHONPATH:+:$PYTHONPATH}}" ;;
esac
export TURNGAP_CACHE="$turngap_site/cache" PYTHONUNBUFFERED=1
[ -f "$turngap_site/complete" ]
"""


def requirements(pyproject: Path = ROOT / "pyproject.toml") -> list[str]:
    """Return the requirements of the instrument and of an agent's server, as the project declares them."""
    project = tomllib.loads(pyproject.read_text("utf-8"))["project"]
    server = [one for one in project["optional-dependencies"]["cpu"] if name_of(one) in SERVER]
    # The extra `standard` of uvicorn makes it faster; the agent's server runs without.
    return [one for one in project["dependencies"] if name_of(one) not in UNUSED] + [
        one.replace("[standard]", "") for one in server
    ]


def name_of(requirement: str) -> str:
    """Return the normalised name of a requirement, or of a line of `pip list --format=freeze`."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else ""


def missing(report: dict[str, Any], there: Iterable[str]) -> list[str]:
    """Return `NAME==VERSION --hash=…` of what pip would install and is not `there`, from pip's report."""
    known = {name_of(line) for line in there}
    found = []
    for one in report["install"]:
        name, version = one["metadata"]["name"], one["metadata"]["version"]
        if name_of(name) not in known:
            found.append(f"{name}=={version} --hash=sha256:{one['download_info']['archive_info']['hashes']['sha256']}")
    return sorted(found)


def gather(out: Path, there: Sequence[str], python: str, most_mib: float) -> list[tuple[str, float]]:
    """Make the folder; return its parts and their sizes in MiB, the largest first.

    Raises:
        ValueError: it is larger than `most_mib`, or pip could not get a package.
    """
    shutil.rmtree(out, ignore_errors=True)
    wheels = out / "wheels"
    wheels.mkdir(parents=True)
    target = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    target += [part for platform in PLATFORMS for part in ("--platform", platform)]
    resolve = ["install", "--dry-run", "--quiet", "--ignore-installed", "--report", "-", "--target", str(out)]
    resolved = json.loads(_pip([*resolve, *target, *requirements()]))
    (out / WHEELS).write_text("\n".join(missing(resolved, there)) + "\n", "utf-8")
    _pip(["download", "--quiet", "--no-deps", "--require-hashes", *target, "-d", str(wheels), "-r", str(out / WHEELS)])
    _pack_cache(out / CACHE)
    digest = hashlib.sha256((out / CACHE).read_bytes()).hexdigest()
    (out / "SHA256SUMS").write_text(f"{digest}  {CACHE}\n", "utf-8")
    (out / "use.sh").write_text(USE.format(name=out.name), "utf-8")
    sizes = sorted(
        ((str(file.relative_to(out)), file.stat().st_size / MIB) for file in out.rglob("*") if file.is_file()),
        key=lambda part: -part[1],
    )
    total_mib = sum(size for _, size in sizes)
    if total_mib > most_mib:
        largest = ", ".join(f"{name} {size:.1f}" for name, size in sizes[:4])
        raise ValueError(f"{total_mib:.1f} MiB are more than {most_mib:g}: {largest}; name what is there with --there")
    return sizes


def _pack_cache(archive: Path) -> None:
    """Pack the cached models of the profile and the caller's recordings, which are fetched if they are missing."""
    from turngap_agent import weights
    from turngap_agent.weights import cache, pins

    chosen = [*pins.of_profile(PROFILE), pins.of(CALLER)]
    for pin in chosen:
        weights.get(pin.name)
    with tarfile.open(archive, "w:xz", preset=6) as packed:
        for pin in chosen:
            packed.add(cache.place(pin), cache.place(pin).relative_to(cache.root()))


def _pip(arguments: list[str]) -> str:
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ValueError(f"pip {arguments[0]} failed: {lines[-1] if lines else 'no output'}")
    return done.stdout


def main(arguments: list[str] | None = None) -> int:
    """Make the folder and list it; return 0, or 2 with one line if it can't be made."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_carry", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("carry"), help="the folder; what is in it is replaced")
    parser.add_argument(
        "--there", type=Path, help="a list of the machine's own packages: `pip list --format=freeze` there"
    )
    parser.add_argument("--python", default="3.12", help="the machine's version of Python")
    parser.add_argument("--most-mib", type=float, default=MOST_MIB, help="the largest folder that may travel")
    options = parser.parse_args(arguments)
    try:
        there = THERE if options.there is None else options.there.read_text("utf-8").splitlines()
        sizes = gather(options.out, there, options.python, options.most_mib)
    except (ValueError, OSError) as error:
        print(f"gpu_carry: error: {error}", file=sys.stderr)
        return 2
    for name, size in sizes:
        print(f"{size:8.2f} MiB  {name}")
    print(f"{sum(size for _, size in sizes):8.2f} MiB in {options.out}; there: `. {options.out.name}/use.sh`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
