"""Compares queue, prefill and decode times in a request's span with vLLM's own metrics, one request at a time.

    python -m benchmarks.vllm_stages --profile PROFILE [--set section.key=value]... [--requests 20] [--json]

vLLM counts each request in the histograms on its metrics page. The page is read before and after each request, so the
difference of the sums belongs to that request. The agent's times come with the reply's last event. No other client may
use the server meanwhile.
"""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import aclosing
from dataclasses import asdict, dataclass
from statistics import mean

import httpx
from turngap_agent import profile, tracing
from turngap_agent.clock import now_ns
from turngap_agent.errors import HarnessError, TurngapError
from turngap_agent.llm import Request
from turngap_agent.llm.vllm.engine import VllmChat
from turngap_agent.llm.vllm.settings import VllmSettings

from benchmarks.promises import Promise, check_at_most, make_parser, print_result

LIMIT_MS = 5.0
HISTOGRAMS = {
    tracing.LLM_QUEUE_MS: "vllm:request_queue_time_seconds",
    tracing.LLM_PREFILL_MS: "vllm:request_prefill_time_seconds",
    tracing.LLM_DECODE_MS: "vllm:request_decode_time_seconds",
}
"""vLLM's histogram of each of the three times."""
WORDS = "I would like to know when my room will be ready, and whether breakfast is included."
_READS, _BETWEEN_READS_S = 600, 0.05


@dataclass(frozen=True, slots=True)
class ComparedRequest:
    """The times of one request, in ms, by the attribute's name in the span."""

    span_ms: dict[str, float]
    vllm_ms: dict[str, float]
    first_token_ms: float
    """Request sent → first text here."""

    @property
    def largest_ms(self) -> float:
        """The largest of the three differences."""
        return max(abs(self.span_ms[name] - self.vllm_ms[name]) for name in HISTOGRAMS)


async def compare_request(
    engine: VllmChat, metrics_url: str, count: int, max_tokens: int = 24
) -> list[ComparedRequest]:
    """Send `count` requests, each in a call of its own, and read the metrics before and after each.

    Raises:
        EngineError: the server fails.
        HarnessError: the metrics count no request, or several.
    """
    compared = []
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        for index in range(count):
            before = await _fetch_sums(http, metrics_url)
            facts: dict[str, tracing.AttributeValue] = {}
            block = " ".join(f"{(index + place) % 97:02d}" for place in range(16))
            request = Request(f"{block} is this call.", (), WORDS, max_tokens, set_attribute=facts.__setitem__)
            sent_ns, first_ns = now_ns(), 0
            async with aclosing(engine.reply(request)) as pieces:
                async for _ in pieces:
                    first_ns = first_ns or now_ns()
            after = await _sums_after_one_request(http, metrics_url, before)
            missing = [name for name in HISTOGRAMS if not isinstance(facts.get(name), float)]
            if missing:
                raise HarnessError(f"the reply has no {missing[0]}: start vLLM with --enable-per-request-metrics")
            compared.append(
                ComparedRequest(
                    {name: float(facts[name]) for name in HISTOGRAMS},  # type: ignore[arg-type]  # checked above
                    {name: (after[name][0] - before[name][0]) * 1000 for name in HISTOGRAMS},
                    (first_ns - sent_ns) / 1e6,
                )
            )
    return compared


def promises(requests: list[ComparedRequest]) -> list[Promise]:
    """Return the promises of the three differences, each the largest over all requests."""
    return [
        check_at_most(
            f"{name.removeprefix('turngap.llm.').removesuffix('_ms')}: "
            f"largest difference over {len(requests)} requests",
            max(abs(request.span_ms[name] - request.vllm_ms[name]) for request in requests),
            LIMIT_MS,
            digits=3,
        )
        for name in HISTOGRAMS
    ]


def describe(requests: list[ComparedRequest]) -> str:
    """Return the means over the requests in one line."""
    means = {name: mean(request.span_ms[name] for request in requests) for name in HISTOGRAMS}
    first = mean(request.first_token_ms for request in requests)
    inside = means[tracing.LLM_QUEUE_MS] + means[tracing.LLM_PREFILL_MS]
    return (
        f"means over {len(requests)} requests, ms: first token {first:.1f}, of which queue and prefill {inside:.1f}; "
        f"decode {means[tracing.LLM_DECODE_MS]:.1f}; "
        f"largest difference to vLLM's metrics {max(request.largest_ms for request in requests):.3f}"
    )


async def _fetch_sums(http: httpx.AsyncClient, url: str) -> dict[str, tuple[float, float]]:
    """Return sum (in seconds) and count of each histogram."""
    text = (await http.get(url)).text
    return {
        name: (_value_of(text, f"{metric}_sum"), _value_of(text, f"{metric}_count"))
        for name, metric in HISTOGRAMS.items()
    }


def _value_of(text: str, metric: str) -> float:
    match = re.search(rf"^{metric}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
    if match is None:
        raise HarnessError(f"there is no {metric} among the server's metrics: it is no vLLM, or counts nothing")
    return float(match[1])


async def _sums_after_one_request(
    http: httpx.AsyncClient, url: str, before: dict[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """Return the sums once the request is counted; vLLM counts it at about the time of its last event."""
    for _ in range(_READS):
        now = await _fetch_sums(http, url)
        more = {now[name][1] - before[name][1] for name in HISTOGRAMS}
        if more == {1}:
            return now
        if max(more) > 1:
            raise HarnessError("another client uses the server: its metrics count more than one request; stop it")
        await asyncio.sleep(_BETWEEN_READS_S)
    raise HarnessError("the server's metrics do not count the request")


async def _measure(name: str, overrides: tuple[str, ...], count: int) -> list[ComparedRequest]:
    settings = profile.load(name, overrides).llm
    if not isinstance(settings, VllmSettings):
        raise HarnessError(f"profile {name!r} has the language model on {settings.engine}, not on vllm")
    engine = VllmChat(settings)
    try:
        await engine.warm_up()
        return await compare_request(engine, engine.metrics_url, count)
    finally:
        await engine.close()


def main() -> int:
    """Print the differences; return 1 if one is over the limit."""
    options = make_parser(__doc__)
    options.add_argument(
        "--profile", required=True, help="the profile whose language model is started: a name or a .yaml file"
    )
    options.add_argument("--set", action="append", default=[], help="change the profile: section.key=value")
    options.add_argument("--requests", type=int, default=20)
    arguments = options.parse_args()
    try:
        requests = asyncio.run(_measure(arguments.profile, tuple(arguments.set), arguments.requests))
    except TurngapError as error:
        print(f"vllm_stages: error: {error}", file=sys.stderr)
        return 2
    print(describe(requests), file=sys.stderr)
    return print_result(
        "vLLM's stage times, in the span and in its metrics",
        promises(requests),
        {"requests": [asdict(request) for request in requests]},
        as_json=arguments.json,
    )


if __name__ == "__main__":
    sys.exit(main())
