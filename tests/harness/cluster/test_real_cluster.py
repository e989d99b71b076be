"""Real Ray clusters of several nodes on this machine: callers, a node killed in the middle, jobs, other versions."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from turngap.clock import SystemClock
from turngap.cluster import ray_cluster
from turngap.cluster import run as cluster_run
from turngap.corpus import clips
from turngap.model.turn import TurnRecord
from turngap.processes import child
from turngap.processes.agent import RunningAgent, serve_command
from turngap.session import plan
from turngap.session.request import Options
from turngap.session.runner import FinishedRun
from turngap.store import folder as store
from turngap.sweeps import folder as sweep_folder
from turngap_agent import profile
from turngap_agent.errors import UsageError

from tests.harness.cluster.test_distribution import Display
from tests.harness.tones import scenario_of_tones

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'turngap[cluster]', or tox -e cluster")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SCRIPTED = profile.PROFILES / "scripted.yaml"
NODES = 3


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Three nodes, each with its own raylet."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "300")  # a busy machine starts a node in minutes
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    for _ in range(NODES - 1):
        cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_a_node_that_is_killed_costs_its_running_calls(cluster: Any, tmp_path: Path) -> None:
    """Three nodes call one agent; one is killed. The run is complete, and says what was lost."""

    async def work() -> FinishedRun:
        agent = await RunningAgent.start(serve_command(SCRIPTED), log=tmp_path / "agent.log", endpoint=None)
        try:
            scenario = scenario_of_tones(tmp_path, 12, simultaneous_calls=6, probe="true")
            options = Options(out=tmp_path / "out", ray=cluster.address)
            request = plan.plan_run(scenario, url=agent.ready.url, options=options)
            with cluster_run.connect_nodes(cluster.address, request.scenario_path) as nodes:
                assert len(nodes) == NODES
                victim = next(node for node in nodes if node.node_id != cluster.head_node.node_id)
                name = f"caller {nodes.index(victim) + 1}"

                class KillsNode(Display):
                    def show_turn(self, turn: TurnRecord, setting: str = "") -> None:
                        if turn.boot_id.endswith(name) and not self.shown:
                            self.shown = 1
                            worker = next(one for one in cluster.worker_nodes if one.node_id == victim.node_id)
                            cluster.remove_node(worker, allow_graceful=False)

                corpus = clips.build_corpus(request.scenario, lambda line: None)
                return await cluster_run.run_request(
                    request, corpus, nodes, KillsNode(), clock=SystemClock(), stop=asyncio.Event()
                )
        finally:
            await agent.stop()

    finished = asyncio.run(work())
    stored = store.read_run(finished.folder.path)
    assert finished.error is None
    assert stored.record.complete
    assert len([turn for turn in stored.turns if turn.scored]) == 12
    lost = [one for one in stored.record.callers if one.lost]
    assert len(lost) == 1
    assert len(lost[0].lost_calls) <= 2
    assert len({turn.boot_id for turn in stored.turns}) == NODES


def test_nodes_with_another_version_are_refused(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, before anything is placed."""
    from turngap.cluster import identity

    own = identity.describe_installation()
    monkeypatch.setattr(identity, "describe_installation", lambda scenario=None: {**own, "turngap": "9.9"})
    with (
        pytest.raises(UsageError, match="nothing was placed") as refusal,
        cluster_run.connect_nodes(cluster.address, None),
    ):
        raise AssertionError("it was connected")
    assert f"has turngap {own['turngap']}, not 9.9" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_sweep_is_measured_by_jobs(cluster: Any, tmp_path: Path) -> None:
    """Each setting by one; its folder is one of a sweep, and the runs say where they were measured."""
    scenario = scenario_of_tones(tmp_path, 2, probe="true")
    command = child.python_command(
        "turngap", "sweep", str(scenario), "--profile", "scripted", "--set", "stt.delay_ms=20,60",
        "--set", "deadlines.silence_ms=30000", "--out", str(tmp_path / "out"), "--ray", cluster.address, "--json",
    )  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["complete"]
    (path,) = (tmp_path / "out").iterdir()
    runs = sweep_folder.read_runs(path, sweep_folder.read_sweep(path))
    assert [run.record.n_turns for _, run in runs] == [2, 2]
    assert all(any("job of its own on a Ray cluster" in note for note in run.record.notes) for _, run in runs)


def test_a_cluster_of_this_machine_alone_is_started_and_ended() -> None:
    """`local` needs nothing that runs already."""
    with ray_cluster.connected(ray_cluster.LOCAL) as nodes:
        assert len(nodes) == 1
        ray_cluster.check_nodes(nodes, None)
    assert not ray.is_initialized()
