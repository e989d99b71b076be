"""Measures a rented GPU: starts a pod on RunPod, runs `tox -e gpu` there, fetches results/gpu/CARD/, and ends the pod.

    RUNPOD_API_KEY=… python -m benchmarks.runpod --gpu 'NVIDIA A100 80GB PCIe' --most-dollars 5 [-- --turns 93]

The pod is ended whatever happens: by this command when it has the results, fails, or is interrupted; and by the pod
itself once `--minutes` are over, should this command be gone. Before anything is rented the price times the minutes is
held against `--most-dollars`. The pod fetches a commit of a repository that it can reach; nothing of this machine but
the variables named by `--env` is sent to it. Only Python is needed here.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from benchmarks.runpod_api import API, PROXY, RentedPod, RunPod, RunPodError
from benchmarks.runpod_rental import IMAGE, PORT, Rental, make_request, unpack, write_script

POLL_S = 20.0
SPARE_S = 120.0
"""After the pod's own limit this command waits so much longer before it ends the pod itself."""
MOST_BYTES = 200_000_000


def check_price(rental: Rental, prices: dict[str, float], most_dollars: float) -> float:
    """Return what the pod costs at most, in dollars.

    Raises:
        RunPodError: the card is not offered, or may cost more than `most_dollars`.
    """
    if rental.gpu not in prices:
        nearest = difflib.get_close_matches(rental.gpu, prices, 3, 0.3) or sorted(prices)
        raise RunPodError(
            f"--gpu {rental.gpu!r} is not offered in the cloud {rental.cloud}; there are {', '.join(nearest)}"
        )
    return check_cost(prices[rental.gpu], rental.minutes, most_dollars)


def check_cost(dollars_an_hour: float, minutes: int, most_dollars: float) -> float:
    """Return what so many minutes cost.

    Raises:
        RunPodError: that is more than `most_dollars`.
    """
    cost = dollars_an_hour * minutes / 60
    if cost > most_dollars:
        raise RunPodError(
            f"{minutes} minutes at ${dollars_an_hour:.2f} an hour are ${cost:.2f}, "
            f"more than --most-dollars {most_dollars:g}"
        )
    return cost


def measure(runpod: RunPod, rental: Rental, most_dollars: float, out: Path, now_s: Callable[[], float]) -> int:
    """Rent, wait, fetch, end the pod; return the exit code of the measurement.

    Raises:
        RunPodError: the pod could not be had, ended early, or gave no result.
    """
    cost = check_price(rental, runpod.read_prices(rental.cloud), most_dollars)
    print(f"renting {rental.gpu} for at most {rental.minutes} minutes, ${cost:.2f}", file=sys.stderr)
    try:
        pod = runpod.create_pod(make_request(rental))
        print(f"pod {pod.pod_id} at ${pod.dollars_an_hour:.2f} an hour", file=sys.stderr)
        check_cost(pod.dollars_an_hour, rental.minutes, most_dollars)
        content = wait_for_result(runpod, pod, rental, now_s() + rental.minutes * 60 + SPARE_S, now_s)
    finally:
        end_pods(runpod, rental.name)
    return unpack(content, out)


def wait_for_result(
    runpod: RunPod, pod: RentedPod, rental: Rental, deadline_s: float, now_s: Callable[[], float]
) -> bytes:
    """Return the pod's archive as soon as it serves it.

    Raises:
        RunPodError: the pod ended, or the deadline passed, without one.
    """
    status = pod.status
    while now_s() < deadline_s:
        content = runpod.fetch(pod.pod_id, PORT, rental.result, MOST_BYTES)
        if content is not None:
            return content
        current = runpod.read_pod(pod.pod_id).status
        if current != status:
            print(f"pod {pod.pod_id} is {current}", file=sys.stderr)
            status = current
        if status in ("EXITED", "ERROR", "TERMINATED"):
            raise RunPodError(f"pod {pod.pod_id} is {status} before it had results")
        runpod.wait(POLL_S)
    raise RunPodError(f"pod {pod.pod_id} had no results after {rental.minutes} minutes")


def end_pods(runpod: RunPod, name: str) -> None:
    """End every pod of this name, also one whose creation was never answered.

    Raises:
        RunPodError: it may still run, and cost; the text says what to do.
    """
    try:
        pods = runpod.find_pods(name)
        for pod in pods:
            runpod.delete_pod(pod.pod_id)
            print(f"pod {pod.pod_id} is ended", file=sys.stderr)
    except RunPodError as error:
        raise RunPodError(
            f"the pod {name} MAY STILL RUN, and cost: end it at console.runpod.io/pods ({error})"
        ) from error


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; what follows `--` goes to `python -m benchmarks.gpu`."""
    own, _, options = " ".join(map(shlex.quote, arguments)).partition(" -- ")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runpod", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gpu", required=True, help="the card's name as RunPod writes it, as 'NVIDIA A100 80GB PCIe'")
    parser.add_argument("--cloud", choices=("SECURE", "COMMUNITY"), default="SECURE")
    parser.add_argument(
        "--most-dollars", type=float, default=5.0, help="nothing is rented that may cost more (default 5)"
    )
    parser.add_argument("--minutes", type=int, default=60, help="the pod ends itself then (default 60)")
    parser.add_argument("--image", default=IMAGE)
    parser.add_argument("--repository", help="address of the source; default: this checkout's `origin`")
    parser.add_argument("--commit", help="default: this checkout's")
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME", help="a variable that the pod gets, as HF_TOKEN"
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="parent of gpu/CARD (default results)")
    parser.add_argument("--dry-run", action="store_true", help="print what would be asked for; rent nothing")
    parsed = parser.parse_args(shlex.split(own))
    parsed.options = tuple(shlex.split(options))
    if parsed.minutes < 5:
        parser.error("--minutes: a measurement takes at least 5")
    if not 0 < parsed.most_dollars < float("inf"):
        parser.error("--most-dollars: a positive number")
    parsed.repository = parsed.repository or read_git("remote", "get-url", "origin")
    parsed.commit = parsed.commit or read_git("rev-parse", "HEAD")
    if not parsed.repository or not parsed.commit:
        parser.error("no source to measure: give --repository and --commit, this folder has no checkout with an origin")
    missing = [name for name in parsed.env if name not in os.environ]
    if missing:
        parser.error(f"--env {missing[0]}: there is no such variable here")
    return parsed


def read_git(*arguments: str) -> str:
    """Return git's answer of one line, "" where there is none."""
    try:
        return subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=False, timeout=20
        ).stdout.strip()
    except FileNotFoundError:
        return ""


def stop(signum: int, frame: FrameType | None) -> None:
    """End as on Ctrl-C, so that the pod is ended too."""
    raise KeyboardInterrupt


def main(
    arguments: Sequence[str] | None = None,
    api: str = API,
    proxy: str = PROXY,
    wait: Callable[[float], None] = time.sleep,
    now_s: Callable[[], float] = time.monotonic,
) -> int:
    """Run the command; return the exit code: the measurement's own, or 2 where there is no result."""
    given = read_arguments(sys.argv[1:] if arguments is None else arguments)
    variables = {name: os.environ[name] for name in given.env}
    rental = Rental(
        given.gpu, given.cloud, given.image, given.repository, given.commit, given.options, given.minutes,
        secrets.token_hex(16), variables,
    )  # fmt: skip
    if given.dry_run:
        request = make_request(rental) | {"env": dict.fromkeys(variables, "(as here)"), "args": "(the script below)"}
        print(f"POST {api}/v2/pods\n{json.dumps(request, indent=2)}\n\n{write_script(rental)}")
        print("nothing was rented; the price is asked for, and checked, before a pod is created", file=sys.stderr)
        return 0
    key = os.environ.get("RUNPOD_API_KEY", "")
    if not key:
        print("RUNPOD_API_KEY is not set: make a key in RunPod's console", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, stop)
    try:
        return measure(RunPod(key, api, proxy, wait), rental, given.most_dollars, given.out, now_s)
    except RunPodError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
