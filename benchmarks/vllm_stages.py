"""Whether queue, prefill and decode in a request's span are what vLLM's own metrics say: one request at a time.

    python -m benchmarks.vllm_stages --profile PROFILE [--set section.key=value]... [--requests 20] [--json]

vLLM counts each request in the histograms on its metrics page; between two looks at it lies one request, so the
difference of the sums is that request's. What the agent notes came with the reply's last event. Nothing else may ask
the server meanwhile.
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

from benchmarks.common import Promise, bounded, conclude, parser

LIMIT_MS = 5.0
HISTOGRAMS = {
    tracing.LLM_QUEUE_MS: "vllm:request_queue_time_seconds",
    tracing.LLM_PREFILL_MS: "vllm:request_prefill_time_seconds",
    tracing.LLM_DECODE_MS: "vllm:request_decode_time_seconds",
}
"""vLLM's histogram of each of the three times."""
WORDS = "I would like to know when my room will be ready, and whether breakfast is included."
_LOOKS, _BETWEEN_LOOKS_S = 600, 0.05


@dataclass(frozen=True, slots=True)
class Compared:
    """One request; milliseconds, by the attribute's name in the span."""

    span_ms: dict[str, float]
    vllm_ms: dict[str, float]
    first_token_ms: float
    """Request sent → first text here."""

    @property
    def largest_ms(self) -> float:
        """The largest difference of the three."""
        return max(abs(self.span_ms[name] - self.vllm_ms[name]) for name in HISTOGRAMS)


async def compare(engine: VllmChat, metrics_url: str, count: int, max_tokens: int = 24) -> list[Compared]:
    """Ask `count` times, each request in a call of its own, and look at the metrics around each.

    Raises:
        EngineError: the server fails.
        HarnessError: the metrics tell of no such request, or of several.
    """
    found = []
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        for index in range(count):
            before = await _sums(http, metrics_url)
            facts: dict[str, tracing.AttributeValue] = {}
            block = " ".join(f"{(index + place) % 97:02d}" for place in range(16))
            asked = Request(f"{block} is this call.", (), WORDS, max_tokens, set_attribute=facts.__setitem__)
            sent_ns, first_ns = now_ns(), 0
            async with aclosing(engine.reply(asked)) as pieces:
                async for _ in pieces:
                    first_ns = first_ns or now_ns()
            after = await _one_more(http, metrics_url, before)
            missing = [name for name in HISTOGRAMS if not isinstance(facts.get(name), float)]
            if missing:
                raise HarnessError(f"the reply came without {missing[0]}: start vLLM with --enable-per-request-metrics")
            found.append(
                Compared(
                    {name: float(facts[name]) for name in HISTOGRAMS},  # type: ignore[arg-type]  # looked at above
                    {name: (after[name][0] - before[name][0]) * 1000 for name in HISTOGRAMS},
                    (first_ns - sent_ns) / 1e6,
                )
            )
    return found


def promises(found: list[Compared]) -> list[Promise]:
    """The three differences, each the largest over all requests, against the limit."""
    return [
        bounded(
            f"{name.removeprefix('turngap.llm.').removesuffix('_ms')}: largest difference over {len(found)} requests",
            max(abs(one.span_ms[name] - one.vllm_ms[name]) for one in found),
            LIMIT_MS,
            digits=3,
        )
        for name in HISTOGRAMS
    ]


def describe(found: list[Compared]) -> str:
    """Means over the requests, in one line."""
    means = {name: mean(one.span_ms[name] for one in found) for name in HISTOGRAMS}
    first = mean(one.first_token_ms for one in found)
    inside = means[tracing.LLM_QUEUE_MS] + means[tracing.LLM_PREFILL_MS]
    return (
        f"means over {len(found)} requests, ms: first token {first:.1f}, of which queue and prefill {inside:.1f}; "
        f"decode {means[tracing.LLM_DECODE_MS]:.1f}; "
        f"largest difference to vLLM's metrics {max(one.largest_ms for one in found):.3f}"
    )


async def _sums(http: httpx.AsyncClient, url: str) -> dict[str, tuple[float, float]]:
    """(sum in seconds, count) of each histogram."""
    text = (await http.get(url)).text
    return {
        name: (_value(text, f"{metric}_sum"), _value(text, f"{metric}_count")) for name, metric in HISTOGRAMS.items()
    }


def _value(text: str, metric: str) -> float:
    found = re.search(rf"^{metric}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
    if found is None:
        raise HarnessError(f"there is no {metric} among the server's metrics: it is no vLLM, or counts nothing")
    return float(found[1])


async def _one_more(
    http: httpx.AsyncClient, url: str, before: dict[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """The sums once the request is counted; vLLM counts it about when its last event is sent."""
    for _ in range(_LOOKS):
        now = await _sums(http, url)
        more = {now[name][1] - before[name][1] for name in HISTOGRAMS}
        if more == {1}:
            return now
        if max(more) > 1:
            raise HarnessError("somebody else asks the server: its metrics count more than one request")
        await asyncio.sleep(_BETWEEN_LOOKS_S)
    raise HarnessError("the server's metrics do not count the request")


async def _measure(name: str, overrides: tuple[str, ...], count: int) -> list[Compared]:
    settings = profile.load(name, overrides).llm
    if not isinstance(settings, VllmSettings):
        raise HarnessError(f"profile {name!r} has the language model on {settings.engine}, not on vllm")
    engine = VllmChat(settings)
    try:
        await engine.warm_up()
        return await compare(engine, engine.metrics_url, count)
    finally:
        await engine.close()


def main() -> int:
    """Print the differences; exit 1 where one is over the limit."""
    options = parser(__doc__)
    options.add_argument("--profile", required=True, help="its section llm is started: a name or a .yaml file")
    options.add_argument("--set", action="append", default=[], help="change the profile: section.key=value")
    options.add_argument("--requests", type=int, default=20)
    asked = options.parse_args()
    try:
        found = asyncio.run(_measure(asked.profile, tuple(asked.set), asked.requests))
    except TurngapError as fault:
        print(f"vllm_stages: error: {fault}", file=sys.stderr)
        return 2
    print(describe(found), file=sys.stderr)
    return conclude(
        "vLLM's stage times, in the span and in its metrics",
        promises(found),
        {"requests": [asdict(one) for one in found]},
        as_json=asked.json,
    )


if __name__ == "__main__":
    sys.exit(main())
