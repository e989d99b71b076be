"""What a GPU machine without internet needs is gathered; engines of other profiles are not needed there at all."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu_carry, gpu_steps
from benchmarks.gpu_carry import THERE, missing, name_of, requirements

ROOT = Path(__file__).resolve().parents[2]
OTHERS = ("aiohttp", "av", "ctranslate2", "faster_whisper", "gguf", "hibari", "librosa", "onnx", "sounddevice", "vllm")


def test_the_requirements_are_the_projects_own() -> None:
    """The instrument's and the server's; uvicorn without its compiled extras, nothing for recordings of one's own."""
    names = {name_of(one) for one in requirements()}
    assert {"pydantic", "websockets", "opentelemetry-sdk", "fastapi", "uvicorn", "jiwer"} <= names
    assert not names & {"librosa", "torch", "faster-whisper", "ctranslate2"}
    assert not any("[" in one for one in requirements())


HASH = hashlib.sha256(b"a wheel").hexdigest()


def resolved(name: str, version: str) -> dict[str, Any]:
    """Return one package of pip's report."""
    archive = {"archive_info": {"hashes": {"sha256": HASH}}}
    return {"metadata": {"name": name, "version": version}, "download_info": archive}


def test_what_is_there_does_not_travel() -> None:
    """Names are compared as pip compares them; Protobuf, whose versions must match, always travels."""
    install = [("NumPy", "2.5"), ("pydantic_core", "2.50"), ("typing-extensions", "4.15"), ("protobuf", "7.36")]
    report = {"install": [resolved(name, version) for name, version in install]}
    assert missing(report, THERE) == [
        f"{name} --hash=sha256:{HASH}" for name in ("protobuf==7.36", "pydantic_core==2.50")
    ]
    others = missing(report, ["pydantic.core==1", "numpy==2.5.2", ""])
    assert [line.split()[0] for line in others] == ["protobuf==7.36", "typing-extensions==4.15"]


@pytest.fixture
def without_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pip that resolves to one small wheel, and a small cache."""

    def pip(arguments: list[str]) -> str:
        if arguments[0] == "download":
            assert "--require-hashes" in arguments
            listed = Path(arguments[arguments.index("-r") + 1]).read_text()
            assert listed == f"a==1 --hash=sha256:{HASH}\n"
            (Path(arguments[arguments.index("-d") + 1]) / "a.whl").write_bytes(bytes(2 << 20))
        return json.dumps({"install": [resolved("a", "1")]})

    monkeypatch.setattr(gpu_carry, "_pip", pip)

    def pack(archive: Path) -> None:
        with tarfile.open(archive, "w:xz"):
            pass

    monkeypatch.setattr(gpu_carry, "_pack_cache", pack)


def test_a_folder_that_is_too_large_is_one_line(
    without_downloads: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the largest parts; one that fits is listed with its sum."""
    out = ["--out", str(tmp_path / "carry")]
    assert gpu_carry.main([*out, "--most-mib", "1"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "wheels/a.whl 2.0" in error
    assert gpu_carry.main(out) == 0
    assert "2.00 MiB in" in capsys.readouterr().out


def test_the_folder_is_used_by_sourcing_it(without_downloads: None, tmp_path: Path) -> None:
    """Wheels go to a folder of their own, once; the source tree comes first on the path, then they."""
    carry, site = tmp_path / "carry", tmp_path / "site"
    assert gpu_carry.main(["--out", str(carry)]) == 0
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "python3").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    (tools / "python3").chmod(0o755)
    script = f". {carry}/use.sh && . {carry}/use.sh && echo $PYTHONPATH $TURNGAP_CACHE"
    environment = {"PATH": f"{tools}:{os.environ['PATH']}", "TURNGAP_SITE": str(site)}
    command = ["bash", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    path, cache = done.stdout.split()
    assert path.split(":")[1:] == [f"{tmp_path}/harness", f"{tmp_path}/pipeline", f"{site}/site"]
    assert cache == f"{site}/cache"
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert "--no-index" in call
    assert "--require-hashes" in call
    assert f"--find-links {carry}/wheels" in call
    assert f"-r {carry}/wheels.txt" in call


def test_an_archive_that_changed_on_the_way_is_not_unpacked(without_downloads: None, tmp_path: Path) -> None:
    """Its hash is checked before anything is installed; wheels have theirs, which pip checks."""
    carry, site = tmp_path / "carry", tmp_path / "site"
    assert gpu_carry.main(["--out", str(carry)]) == 0
    with (carry / "cache.tar.xz").open("ab") as archive:
        archive.write(b"x")
    environment = {"PATH": os.environ["PATH"], "TURNGAP_SITE": str(site)}
    command = ["bash", "-c", f". {carry}/use.sh"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "cache.tar.xz" in done.stdout + done.stderr
    assert not site.exists()


def without(modules: tuple[str, ...], program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in which those modules cannot be imported."""
    block = f"import sys; sys.modules.update(dict.fromkeys({modules})); sys.argv = ['', *sys.argv[1:]]\n"
    command = [sys.executable, "-c", block + program, *arguments]
    environment: dict[str, Any] = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=280)


def test_the_turns_import_no_engine_of_another_profile() -> None:
    """Run, agent and span receiver start where those packages are missing."""
    (turns,) = [step for step in gpu_steps.STEPS if step.name == "turns"]
    done = without(
        OTHERS, "".join(f"import {name}\n" for name in turns.modules if name not in ("torch", "transformers"))
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.engines
def test_a_weightless_profile_loads_without_the_packages_of_others() -> None:
    """Every engine of it, loaded and warmed up, on a CPU."""
    pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
    pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")
    program = "from benchmarks.gpu_prepare import main\nsys.exit(main(sys.argv[1:]))"
    done = without(OTHERS, program, "weightless-tiny", "endpointing.model={engine: smart_turn}")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(result["models"]) == {"vad", "turn", "stt", "llm", "tts"}
