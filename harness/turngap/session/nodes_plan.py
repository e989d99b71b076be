"""Whether the nodes of a cluster can place a run's calls: checked before anything starts."""

from __future__ import annotations

from turngap_agent.errors import UsageError

from turngap.session.request import Request


def check_nodes_can_call(request: Request) -> None:
    """Refuse a run whose agent, or whose spans, the nodes would not reach.

    Raises:
        UsageError: the agent is one that this machine starts, or spans of another framework are asked for.
    """
    if request.options.ray and request.url is None:
        raise UsageError(
            f"--ray {request.options.ray}: the nodes call an agent that runs already, where all of them reach it: give "
            "--url ws://HOST:PORT/PATH instead of --profile"
        )
    if request.options.ray and request.mapping is not None:
        raise UsageError("--spans with --ray: spans arrive at one place, and the callers are at several; drop one")
