"""Connects to a Ray cluster, or starts one of this machine alone; lists and checks its nodes. Ray is imported late."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turngap_agent.errors import HarnessError, UsageError, one_line

from turngap.cluster import identity

LOCAL = "local"
CONNECT_TIMEOUT_S = 3.0
PROBE_TIMEOUT_S = 60.0
"""A node's first worker process takes seconds to start."""
_ADDRESS = re.compile(r"^(?P<host>[^\s/:]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})$")
NAMESPACE = "turngap"
NICENESS = "RAY_worker_niceness"
"""Ray's variable for the niceness of workers, by default 15."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster that runs tasks."""

    node_id: str
    address: str
    host: str
    cpus: float
    gpus: float

    @property
    def label(self) -> str:
        """The node in a message: host, address, and the beginning of its id, since a machine may have several."""
        return f"{self.host} ({self.address}, {self.node_id[:6]})"


@contextmanager
def connected(address: str) -> Iterator[tuple[Node, ...]]:
    """Connect to the cluster at `HOST:PORT`, or start one of this machine (`local`); yield its nodes.

    Raises:
        UsageError: Ray is not installed, there is no such cluster, or it is of another version.
    """
    check_address(address)
    ray = import_ray()
    options: dict[str, Any] = {"namespace": NAMESPACE, "log_to_driver": False, "configure_logging": False}
    try:
        if address == LOCAL:
            with _local_environment():
                ray.init(**options, include_dashboard=False)
        else:
            ray.init(address=address, **options)
    except Exception as error:  # noqa: BLE001  # Ray raises many kinds: whatever it is, there is no cluster
        raise UsageError(
            f"--ray {address}: no Ray cluster to work with ({one_line(error, 300)}): start one: `ray start --head`, "
            f"run this on one of its machines, or give --ray {LOCAL}",
            code="usage.cluster",
        ) from None
    try:
        nodes = list_nodes()
        if not nodes:
            raise UsageError(f"--ray {address}: the cluster has no node with a CPU for callers", code="usage.cluster")
        yield nodes
    finally:
        ray.shutdown()


def check_address(address: str) -> None:
    """Refuse an address where no cluster can be, or none listens.

    Raises:
        UsageError: it is none, or nothing listens there.
    """
    if address == LOCAL:
        return
    match = _ADDRESS.match(address)
    if match is None or not 0 < int(match["port"]) < 1 << 16:
        raise UsageError(
            f"--ray {address!r}: expected HOST:PORT, as `ray start --head` prints it (the port is 6379 as a rule), or "
            f"{LOCAL}",
            code="usage.cluster",
        )
    host, port = match["host"].strip("[]"), int(match["port"])
    try:
        socket.create_connection((host, port), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise UsageError(
            f"--ray {address}: nothing listens there ({error.strerror or error}): start a cluster with `ray start "
            f"--head`, or give --ray {LOCAL}",
            code="usage.cluster",
        ) from None


def import_ray() -> Any:
    """Return Ray's module.

    Raises:
        UsageError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing about a measurement leaves its machines
    try:
        import ray
    except ImportError:
        raise UsageError("--ray needs Ray: pip install 'turngap[cluster]'", code="usage.cluster") from None
    return ray


def list_nodes() -> tuple[Node, ...]:
    """Return the nodes that are alive and have CPUs, in the order of their addresses and ids."""
    ray = import_ray()
    nodes = [
        Node(
            one["NodeID"],
            one["NodeManagerAddress"],
            one["NodeManagerHostname"],
            one["Resources"].get("CPU", 0.0),
            one["Resources"].get("GPU", 0.0),
        )
        for one in ray.nodes()
        if one["Alive"]
    ]
    return tuple(sorted((node for node in nodes if node.cpus >= 1), key=lambda node: (node.address, node.node_id)))


def check_nodes(nodes: Sequence[Node], scenario: Path | None) -> None:
    """Refuse nodes whose versions, source or scenario are not this machine's.

    Raises:
        UsageError: they differ, or turngap is not installed on one.
        HarnessError: a node does not answer.
    """
    here = identity.describe_installation(scenario)
    identity.check_installations(here, _describe_nodes(nodes, scenario))


def on_node(node: Node, **options: Any) -> dict[str, Any]:
    """Return the options of a task or an actor that must run on that node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node.node_id, soft=False), **options}


def _describe_nodes(nodes: Sequence[Node], scenario: Path | None) -> Mapping[str, Mapping[str, str]]:
    ray = import_ray()

    def probe(file: str | None) -> dict[str, str]:
        # Inside a function it is sent as it is: a node without turngap could not look it up.
        try:
            from turngap.cluster.identity import describe_installation
        except ImportError:
            return {"turngap": "absent"}
        from pathlib import Path

        return describe_installation(Path(file) if file is not None else None)

    task = ray.remote(probe)
    file = str(scenario) if scenario is not None else None
    answers = {node.label: task.options(**on_node(node, num_cpus=0, max_retries=0)).remote(file) for node in nodes}
    found = {}
    for label, answer in answers.items():
        try:
            found[label] = ray.get(answer, timeout=PROBE_TIMEOUT_S)
        except ray.exceptions.RayError as error:
            raise HarnessError(f"{label} does not answer: {one_line(error, 300)}; nothing was placed") from None
    return found


@contextmanager
def _local_environment() -> Iterator[None]:
    """Let a cluster that is started here run its workers at our own niceness: 15 would make callers late."""
    before = os.environ.get(NICENESS)
    os.environ.setdefault(NICENESS, "0")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(NICENESS, None)
