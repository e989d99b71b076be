"""MPS by a stand-in for its control program: started with its own folders, queried, ended; each refusal one line."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from turngap_agent.errors import EngineError
from turngap_agent.gpu import mps
from turngap_agent.gpu.choice import ChosenGpu, choose
from turngap_agent.gpu.mps import Mps
from turngap_agent.profile.sections import GpuSettings

from tests.pipeline.gpu.fake_nvml import nvml

CONTROL = """#!{python}
import os, pathlib, sys, time
pipe, log = (pathlib.Path(os.environ["CUDA_MPS_" + name + "_DIRECTORY"]) for name in ("PIPE", "LOG"))
if sys.argv[1:] == ["-f"]:
    {refusal}
    (log / "control.log").write_text("Start\\n")
    (pipe / "seen").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
    (pipe / "control").write_text(str(os.getpid()))
    while not (pipe / "quit").exists():
        time.sleep(0.01)
    sys.exit(0)
if not (pipe / "control").exists():
    print("Cannot find MPS control daemon process")
    sys.exit(1)
for line in sys.stdin:
    if line.startswith("quit"):
        (pipe / "quit").touch()
    elif (pipe / "clients").exists():
        print("4711")
"""


def install(folder: Path, refusal: str = "") -> dict[str, str]:
    """Put the stand-in on a PATH; return the environment."""
    program = folder / mps.CONTROL
    program.write_text(CONTROL.format(python=sys.executable, refusal=refusal or "pass"))
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def gpu() -> ChosenGpu:
    return choose(1, environment={}, nvml=nvml())


def with_daemon(
    folder: Path, look: Callable[[Mps, Path], Awaitable[None]], settings: GpuSettings | None = None
) -> Path:
    """Start the stand-in, look at it, end it; return the folder of its pipes."""

    async def scenario() -> Path:
        daemon = await Mps.start(gpu(), settings or GpuSettings(mps=True), install(folder))
        pipe = Path(daemon.environment["CUDA_MPS_PIPE_DIRECTORY"])
        try:
            await look(daemon, pipe)
        finally:
            await daemon.stop()
        return pipe

    return asyncio.run(scenario())


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_runs_on_that_gpu_in_folders_of_its_own_and_leaves_nothing(tmp_path: Path) -> None:
    """The daemon sees the card by its UUID; after `stop`, twice, neither process nor folder is there."""
    pids: list[int] = []

    async def look(daemon: Mps, pipe: Path) -> None:
        assert (pipe / "seen").read_text() == "GPU-1a"
        pids.append(int((pipe / "control").read_text()))
        assert alive(pids[0])

    pipe = with_daemon(tmp_path, look)
    assert not pipe.parent.exists()
    assert not alive(pids[0])


def test_clients_environment_has_the_pipes_and_their_shares(tmp_path: Path) -> None:
    """The card is device 0 to them; vLLM starts after speech, and neither inherits the other's share."""

    async def look(daemon: Mps, pipe: Path) -> None:
        own, llm = daemon.environment, daemon.llm_environment
        assert own["CUDA_MPS_PIPE_DIRECTORY"] == llm["CUDA_MPS_PIPE_DIRECTORY"] == str(pipe)
        assert (own["CUDA_VISIBLE_DEVICES"], llm["CUDA_VISIBLE_DEVICES"]) == ("0", "0")
        names = ("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "CUDA_MPS_CLIENT_PRIORITY")
        assert [own[name] for name in names] == ["100", "0"]
        assert [llm[name] for name in names] == ["70", "1"]

    with_daemon(tmp_path, look, GpuSettings(mps=True, llm_active_thread_pct=70))


def test_engines_that_do_not_reach_it_are_a_fault(tmp_path: Path) -> None:
    """CUDA would go on without MPS, and the run would be labelled wrongly."""

    async def look(daemon: Mps, pipe: Path) -> None:
        with pytest.raises(EngineError, match=r"gpu\.mps: the engines did not reach the MPS daemon \(Start\)"):
            await daemon.check_used()
        (pipe / "clients").touch()
        await daemon.check_used()

    with_daemon(tmp_path, look)


def test_a_program_that_is_not_installed_is_one_line(tmp_path: Path) -> None:
    """The error names where it was set."""
    with pytest.raises(EngineError, match=r"nvidia-cuda-mps-control is not installed; .* set gpu\.mps: false"):
        asyncio.run(Mps.start(gpu(), GpuSettings(mps=True), {"PATH": str(tmp_path)}))


def test_a_daemon_that_refuses_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the last line it printed; its folders are gone."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    refusal = "print('An instance of this daemon is already running'); sys.exit(1)"
    with pytest.raises(EngineError, match=r"refused to start \(An instance of this daemon is already running\)"):
        asyncio.run(Mps.start(gpu(), GpuSettings(mps=True), install(tmp_path, refusal)))
    assert list(tmp_path.glob("turngap-mps-*")) == []


def test_a_daemon_that_never_answers_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time, with a remedy."""
    monkeypatch.setattr(mps, "READY_WITHIN_S", 0.3)
    monkeypatch.setattr(mps, "GRACE_S", 0.2)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(EngineError, match=r"did not answer within 0\.3 s \(it logged nothing\)"):
        asyncio.run(Mps.start(gpu(), GpuSettings(mps=True), install(tmp_path, "time.sleep(600)")))
    assert list(tmp_path.glob("turngap-mps-*")) == []


def test_a_daemon_of_the_machine_is_not_joined_unasked(tmp_path: Path) -> None:
    """Where one is, clients are sent to a place where none is; elsewhere nothing is set."""
    environment = {"CUDA_MPS_PIPE_DIRECTORY": str(tmp_path)}
    assert mps.keep_off_machine_mps(environment) == {}
    (tmp_path / "control").touch()
    folders = [Path(mps.keep_off_machine_mps(environment)["CUDA_MPS_PIPE_DIRECTORY"]) for _ in range(2)]
    assert folders[0] != folders[1]
    for folder in folders:
        assert list(folder.iterdir()) == []
        folder.rmdir()
