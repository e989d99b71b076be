"""The router that Ray Serve loads into every handle of an engine's replicas."""

from __future__ import annotations

from typing import Any

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

from turngap_agent.replicas.router import rank_replicas


class StickyRouter(RequestRouter):  # type: ignore[misc]  # Ray has no types
    """Sends each request to the replica of its session, which its metadata carry as the multiplexed model's id."""

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Return the session's replica; of a request without a session all, so that the one with the shortest queue is
        taken."""
        session: Any = pending_request.metadata.multiplexed_model_id if pending_request is not None else ""
        if not session:
            return [list(candidate_replicas)]
        by_id = {replica.replica_id.unique_id: replica for replica in candidate_replicas}
        return [[by_id[unique_id]] for unique_id in rank_replicas(session, by_id)[:1]]
