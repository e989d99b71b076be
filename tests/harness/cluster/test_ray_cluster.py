"""A cluster that is not there is one clear line, before anything is placed; and a real one of several nodes."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from turngap.cluster import ray_cluster
from turngap.cluster.ray_caller import describe_loss
from turngap.cluster.trials import needs_gpu
from turngap.session import plan
from turngap.session.request import Options
from turngap_agent import profile
from turngap_agent.errors import UsageError

from tests.harness.tones import scenario_of_tones


@pytest.mark.parametrize("address", ["", "nowhere", "host:", "host:0", "host:99999", "ray://host:10001", "a b:6379"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    """With what one looks like."""
    with pytest.raises(UsageError, match="expected HOST:PORT") as refusal:
        ray_cluster.check_address(address)
    assert refusal.value.code == "usage.cluster"


def test_a_cluster_that_is_not_there_is_refused_at_once() -> None:
    """Before Ray is asked, which would try for a minute."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UsageError, match=f"--ray 127.0.0.1:{port}: nothing listens there"):
        ray_cluster.check_address(f"127.0.0.1:{port}")


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line: what to install."""
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'turngap\[cluster\]'"):
        ray_cluster.import_ray()


def test_callers_on_nodes_need_an_agent_that_all_of_them_reach(tmp_path: Path) -> None:
    """A profile's agent would listen on this machine alone."""
    scenario = scenario_of_tones(tmp_path, 1)
    with pytest.raises(UsageError, match="--url ws://HOST:PORT/PATH instead of --profile"):
        plan.plan_run(scenario, profile="scripted", options=Options(out=tmp_path, ray="local"))


@pytest.mark.parametrize(
    ("name", "needed"), [("scripted", False), ("cpu", False), ("h200", True), ("a100", True), ("cluster", False)]
)
def test_a_job_takes_a_gpu_if_an_engine_of_its_profile_does(name: str, needed: bool) -> None:
    """Replicas are placed by themselves."""
    assert needs_gpu(profile.load(name).model_dump(mode="json")) is needed


def test_a_loss_is_said_in_a_few_words() -> None:
    """Ray's messages take a page."""

    class ActorDiedError(Exception):
        pass

    assert describe_loss(ActorDiedError("The actor died because its node has died. Node Id: 12")) == "its node died"
    assert describe_loss(ActorDiedError("The actor is dead because its worker process died")) == (
        "its process on the node died"
    )
    assert describe_loss(ValueError("odd")) == "ValueError: odd"
