"""How much of the GPU vLLM's KV cache reserves, and how much of it was in use, as vLLM's metrics and log tell; pure.

vLLM takes the memory at its start, in blocks, and hands blocks out to the requests that run. What it took is
`reserved`; blocks × usage is what the requests needed of it. Blocks that only the prefix cache still holds count as
free, as vLLM counts them: they are given up as soon as a request wants them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from turngap_agent.llm import KvCache

MIB = 1 << 20
_INFO = re.compile(r"^vllm:cache_config_info\{([^}]*)\}", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_USAGE = re.compile(r"^vllm:kv_cache_usage_perc(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
_TAKEN = re.compile(
    r"Available KV cache memory: ([\d.]+) GiB"  # on a GPU
    r"|(?:Explicitly|Auto) set \(([\d.]+)/[\d.]+\) GiB for KV cache"  # on a CPU
)


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at `/metrics`; None is what it does not tell."""

    block_tokens: int | None = None
    """Tokens in one block."""
    blocks: int | None = None
    """In the whole cache."""
    reserved_mib: float | None = None
    """Told only where the size was set and not left to vLLM; its log tells otherwise."""
    usage: float | None = None
    """Share of the blocks that running requests hold, 0-1; of several engines the one that holds the most."""


def read(metrics: str) -> Reading:
    """What `/metrics` says of the cache."""
    info = _INFO.search(metrics)
    labels = dict(_LABEL.findall(info[1])) if info else {}
    reserved = _whole(labels.get("kv_cache_memory_bytes"))
    return Reading(
        block_tokens=_whole(labels.get("block_size")),
        blocks=_whole(labels.get("num_gpu_blocks")),
        reserved_mib=reserved / MIB if reserved else None,
        usage=max((float(value) for value in _USAGE.findall(metrics)), default=None),
    )


def taken_mib(line: str) -> float | None:
    """The cache's size, where this line of vLLM's log tells it."""
    found = _TAKEN.search(line)
    return float(found[1] or found[2]) * 1024 if found else None


class Peak:
    """The largest usage seen over a server's lives."""

    def __init__(self) -> None:
        self._usage: float | None = None
        self._reserved_mib: float | None = None

    def saw(self, reading: Reading, log_mib: float | None) -> None:
        """One reading, and what the log said of the cache's size, if it did."""
        self._reserved_mib = reading.reserved_mib or log_mib or self._reserved_mib
        if reading.usage is not None:
            self._usage = max(reading.usage, self._usage or 0.0)

    def figures(self) -> KvCache | None:
        """The cache so far; None while its size or its usage is not known."""
        if self._reserved_mib is None or self._usage is None:
            return None
        return KvCache(self._reserved_mib, self._usage * self._reserved_mib)


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
