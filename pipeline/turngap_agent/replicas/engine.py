"""The agent's side of replicas: the engine's interface, answered by the replica that serves the call.

A replica that dies costs the work that it had under way: the turn fails, and the caller hears an apology. The call's
next turn is answered by another replica, and Ray Serve starts a new one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import secrets
import time
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

from turngap_agent import clock, meter
from turngap_agent.engines import EngineKind, EngineSettings
from turngap_agent.errors import EngineError, one_line
from turngap_agent.own_process.frames import STREAMS
from turngap_agent.own_process.sent_requests import TOLD, find_request, pass_on, strip_functions
from turngap_agent.replicas import session
from turngap_agent.replicas.replica import EngineReplica, Message
from turngap_agent.replicas.settings import Replication

ROUTER = "turngap_agent.replicas.ray_router:StickyRouter"
KEPT_HERE = ("sample_rate",)
"""What the engine states of itself that holds here too. It is not asked for each piece of a stream: a reply that is not
read on is generated all the same, so `on_demand` is not among them."""
LOCAL = "local"
POLL_S = 0.2
_log = logging.getLogger("turngap.engines")


class ReplicatedEngine:
    """Replicas of one engine; the methods of its kind are there once they are placed."""

    def __init__(self, stage: EngineKind, settings: EngineSettings, replication: Replication) -> None:
        """Place the replicas, and wait until all are warm; blocks.

        Raises:
            EngineError: there is no such cluster, or they do not load.
        """
        self._stage, self._replication = stage, replication
        # Agents in containers often have the same process number, and one with a name that is there already would take
        # that one's replicas over.
        self._name = f"turngap-{stage}-{os.getpid()}-{secrets.token_hex(4)}"
        connect(replication.ray, stage)
        import ray
        from ray import serve
        from ray.serve.config import RequestRouterConfig

        self._ray_error = ray.exceptions.RayError
        self._serve: Any = serve
        deployment = serve.deployment(
            name=stage,
            num_replicas=replication.number,
            max_ongoing_requests=replication.at_once,
            ray_actor_options={"num_gpus": replication.gpus, "num_cpus": replication.cpus},
            user_config={},
            health_check_period_s=1,
            request_router_config=RequestRouterConfig(request_router_class=ROUTER),
        )(EngineReplica)
        try:
            application = deployment.bind(pickle.dumps(settings))
            target = serve.RunTarget(target=application, name=self._name, route_prefix=None)
            self._handle: Any = serve.run_many([target], wait_for_applications_running=False)[0]
            self._wait_ready()
            answer = self._handle.describe.remote().result(timeout_s=replication.ready_within_s)
        except Exception as error:  # whatever Ray raises, the replicas are not there
            self._remove()
            raise EngineError(
                f"{stage}: its {replication.number} replicas do not start ({one_line(error, 300)}); check what each "
                "takes (replication.gpus, replication.cpus) against `ray status`"
            ) from error
        self._text, methods, facts, forgets = answer
        for name in methods:
            setattr(self, name, partial(self._stream if name in STREAMS else self._result, name))
        for name in KEPT_HERE:
            if name in facts:
                setattr(self, name, facts[name])
        if forgets:
            self.forget = self._forget

    def _wait_ready(self) -> None:
        """Return when all replicas are warm."""
        until_s = clock.now_ns() / 1e9 + self._replication.ready_within_s
        while True:
            status = self._serve.status().applications[self._name]
            if status.status == "RUNNING":
                return
            if status.status in ("DEPLOY_FAILED", "UNHEALTHY"):
                raise EngineError(status.message or str(status.status))
            if clock.now_ns() / 1e9 > until_s:
                raise EngineError(f"not all were ready within {self._replication.ready_within_s:g} s")
            time.sleep(POLL_S)

    def describe(self) -> str:
        """Return the engine's own line, and how many there are."""
        return f"{self._text}, {self._replication.number} replicas by Ray Serve"

    async def warm_up(self) -> None:
        """Do nothing: each replica has warmed up where it is."""

    async def find_replica(self) -> int:
        """Return the process number of the replica that serves the call that this task belongs to."""
        pid: int = await self._ask("identify").remote()
        return pid

    async def close(self) -> None:
        """End the replicas."""
        await asyncio.to_thread(self._remove)

    def _remove(self) -> None:
        try:
            self._serve.delete(self._name)
        except Exception as error:  # noqa: BLE001  # the cluster may be gone, and its replicas with it
            _log.warning("%s: its replicas were not ended: %s", self._stage, one_line(error, 300))

    def _ask(self, method: str, *, stream: bool = False) -> Any:
        """Return the replicas' method, for the call that this task belongs to."""
        handle = self._handle.options(multiplexed_model_id=session.CURRENT.get(), stream=stream)
        return getattr(handle, method)

    async def _result(self, method: str, *arguments: Any) -> Any:
        request = find_request(arguments)
        with meter.current().busy():
            response = self._ask("ask").remote(method, tuple(map(strip_functions, arguments)))
            try:
                messages = await response
            except asyncio.CancelledError:
                response.cancel()
                raise
            except self._ray_error as error:
                raise EngineError(_describe_death(self._stage, error)) from None
        for message in messages[:-1]:
            pass_on(request, message)
        return self._take(messages[-1])

    async def _stream(self, method: str, *arguments: Any) -> AsyncGenerator[Any, None]:
        request = find_request(arguments)
        with meter.current().busy():
            response = self._ask("stream", stream=True).remote(method, tuple(map(strip_functions, arguments)))
            try:
                async for message in response:
                    if message[0] in TOLD:
                        pass_on(request, message)
                    else:
                        yield self._take(message)
            except self._ray_error as error:
                raise EngineError(_describe_death(self._stage, error)) from None
            finally:
                response.cancel()

    def _take(self, message: Message) -> Any:
        if message[0] == "failed":
            raise EngineError(message[1])
        return message[1]

    def _forget(self, call_block: str) -> None:
        self._ask("forget").remote(call_block)


def connect(address: str, stage: str) -> None:
    """Connect this process to the Ray cluster, once.

    Raises:
        EngineError: there is none.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing about callers leaves their machines
    import ray

    if ray.is_initialized():
        return
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "namespace": "turngap"}
    try:
        if address == LOCAL:
            ray.init(include_dashboard=False, **options)
        else:
            ray.init(address=address, **options)
    except Exception as error:
        raise EngineError(
            f"{stage}: replication.ray {address}: no Ray cluster ({one_line(error, 300)}); start one with `ray start "
            f"--head`, or set replication.ray to {LOCAL}"
        ) from error


def _describe_death(stage: str, error: BaseException) -> str:
    return f"{stage}: its replica failed or died ({type(error).__name__}); the call's next turn goes to another"
