"""The few calls of RunPod's REST API, version 2, that renting one GPU needs; errors as one line.

The shapes are those of its OpenAPI document (https://api.runpod.io/v2/openapi.json): `CreatePodRequest`, `Pod`,
`GpuType`, `ErrorResponse`. Nothing but Python is needed.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

API = "https://api.runpod.io"
PROXY = "https://{pod}-{port}.proxy.runpod.net"
"""Where a port of a pod that is declared as `PORT/http` is reached from outside."""
ATTEMPTS = 4
RETRY_S = 5.0
TIMEOUT_S = 60.0


class RunPodError(Exception):
    """The API refused, or did not answer; its text is one line."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class RentedPod:
    """A pod as the API describes it.

    Attributes:
        status: PROVISIONING, STARTING, RUNNING, EXITED, ERROR or TERMINATED.
        dollars_an_hour: its current price.
    """

    pod_id: str
    name: str
    status: str
    dollars_an_hour: float


@dataclass(frozen=True, slots=True)
class RunPod:
    """The API, called with one key.

    Attributes:
        api: its address, without the version.
        proxy: pattern of a pod's public address, with `{pod}` and `{port}`.
        wait: waits so many seconds.
    """

    key: str
    api: str = API
    proxy: str = PROXY
    wait: Callable[[float], None] = time.sleep

    def read_prices(self, cloud: str) -> dict[str, float]:
        """Return the price in dollars an hour of one card of each kind that `cloud` (SECURE or COMMUNITY) offers."""
        cards = self._call("GET", "/v2/catalog/gpus")["gpus"]
        return {card["id"]: float(card["price"][cloud.lower()]) for card in cards if card[cloud.lower()]}

    def create_pod(self, request: dict[str, Any]) -> RentedPod:
        """Rent a pod; asked once, since a second request would rent a second one."""
        return read_pod(self._call("POST", "/v2/pods", request, attempts=1))

    def read_pod(self, pod_id: str) -> RentedPod:
        """Return what the pod is doing now."""
        return read_pod(self._call("GET", f"/v2/pods/{pod_id}"))

    def find_pods(self, name: str) -> list[RentedPod]:
        """Return all pods of this name."""
        return [pod for pod in map(read_pod, self._call("GET", "/v2/pods")["pods"]) if pod.name == name]

    def delete_pod(self, pod_id: str) -> None:
        """End the pod and what it costs; a pod that is gone already is no error."""
        try:
            self._call("DELETE", f"/v2/pods/{pod_id}")
        except RunPodError as error:
            if error.status != http.client.NOT_FOUND:
                raise

    def fetch(self, pod_id: str, port: int, path: str, most_bytes: int) -> bytes | None:
        """Return a file that the pod serves, or None while it does not.

        Raises:
            RunPodError: it is larger than `most_bytes`.
        """
        address = f"{self.proxy.format(pod=pod_id, port=port)}/{path}"
        try:
            # The proxy refuses urllib's own user agent.
            request = urllib.request.Request(address, headers={"User-Agent": "turngap"})
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                content: bytes = answer.read(most_bytes + 1)
        except urllib.error.HTTPError as error:
            error.close()
            return None
        except (OSError, http.client.HTTPException):
            return None
        if len(content) > most_bytes:
            raise RunPodError(f"the pod's result is larger than {most_bytes} bytes")
        return content

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None, attempts: int = ATTEMPTS) -> Any:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", "User-Agent": "turngap"}
        data = None if body is None else json.dumps(body).encode()
        for attempt in range(1, attempts + 1):
            request = urllib.request.Request(self.api + path, data, headers, method=method)
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                    content = answer.read()
                return json.loads(content) if content else None
            except urllib.error.HTTPError as error:
                with error:
                    failure = RunPodError(f"RunPod: {method} {path}: {describe(error)}", error.code)
                if error.code < 500 and error.code != http.client.TOO_MANY_REQUESTS:
                    raise failure from None
            except (OSError, http.client.HTTPException, ValueError) as error:
                failure = RunPodError(f"RunPod: {method} {path}: no answer ({error})")
            if attempt < attempts:
                self.wait(RETRY_S * attempt)
        raise failure


def read_pod(record: dict[str, Any]) -> RentedPod:
    """Read the API's description of a pod."""
    return RentedPod(str(record["id"]), str(record["name"]), str(record["status"]), float(record["cost"]))


def describe(error: urllib.error.HTTPError) -> str:
    """Return what the API says of an error, as one line (RFC 9457: `detail`, and `errors` of a bad request)."""
    if error.code in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        return f"{error.code}: the key in RUNPOD_API_KEY is refused"
    try:
        problem = json.loads(error.read())
        reasons = [str(problem["detail"]), *map(str, problem.get("errors") or ())]
    except (OSError, ValueError, KeyError, TypeError):
        reasons = [error.reason]
    return " ".join(f"{error.code}: {'; '.join(reasons)}".split())
