"""What `vllm serve` prints: the steps of its start, and why a start failed; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from turngap_agent.llm.vllm.event_stream import excerpt

_PREFIX = re.compile(r"^(\([^)]*pid=\d+\)\s*)?((DEBUG|INFO|WARNING|ERROR)\s+[\d-]+ [\d:]+\s+\[[^\]]*\]\s*)?")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_STEPS = tuple(
    re.compile(pattern)
    for pattern in (
        r"Resolved architecture: .*",
        r"Starting to load model .*",
        r"Time spent downloading weights .*",
        r"Loading safetensors checkpoint shards: .*(0|25|50|75|100)% Completed.*",
        r"Loading weights took .*",
        r"Model loading took .*",
        r"torch\.compile takes .*",
        r".*KV cache size: .*",
        r"Graph capturing finished .*",
        r"init engine .* took .*",
        r"Starting vLLM server on .*",
    )
)
_ERROR = re.compile(r"^(\w+\.)*\w*(Error|Exception)\b(: .*)?$")
_INVALID = "Value error, "
"""Start of the line after "1 validation error for …" that contains the error."""
_VAGUE = ("Engine core initialization failed", "WorkerProc initialization failed", "validation error")
"""Errors whose cause is in another line."""
_REMEDIES: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("CUDA out of memory", "OutOfMemoryError"),
        "lower llm.gpu_memory_share or llm.max_context, or free the GPU",
    ),
    (
        ("less than desired GPU memory utilization", "o available memory for the cache", "KV cache is needed"),
        "llm.gpu_memory_share does not fit: free the GPU, or change the share or llm.max_context",
    ),
    (
        ("less than requested memory for kv", "DefaultCPUAllocator: can't allocate memory"),
        "the machine has too little memory: free some, or lower llm.kv_cache_mib or VLLM_CPU_KVCACHE_SPACE",
    ),
    (
        ("gated repo", "401 Client Error", "403 Client Error", "is restricted"),
        "accept the model's licence on its page of the hub and set HF_TOKEN (docs/vllm.md)",
    ),
    (
        (
            "Can't load the configuration",
            "Repository Not Found",
            "not a local folder",
            "LocalEntryNotFound",
            "couldn't connect",
            "does not appear to have a file named",
            "Invalid repository ID",
            "Repo id must be",
        ),
        "check llm.model and llm.revision, and the connection to the hub",
    ),
    (
        ("unrecognized arguments", "invalid choice"),
        "this vLLM lacks an option that turngap uses: update it (docs/vllm.md)",
    ),
    (
        ("No CUDA GPUs are available", "Failed to infer device type", "libcuda", "NVIDIA driver"),
        "vLLM finds no usable GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES",
    ),
    (
        ("PackageNotFoundError", "No package metadata was found"),
        "that build of vLLM needs another llm.command (docs/vllm.md)",
    ),
)


def strip_prefix(line: str) -> str:
    """Return the line without colours, process and logger."""
    return _PREFIX.sub("", _ANSI.sub("", line)).strip()


def find_step(line: str) -> str | None:
    """Return the step of a start that this line reports, if it reports one."""
    text = strip_prefix(line)
    return excerpt(text) if any(step.fullmatch(text) for step in _STEPS) else None


def last_line(lines: Iterable[str]) -> str:
    """Return the last line that is not empty."""
    return next((excerpt(text) for text in map(strip_prefix, reversed([*lines])) if text), "nothing")


def find_cause(lines: Sequence[str]) -> str:
    """Return why a server with these last lines of output did not start or died, with the remedy if it is known.

    The last line that names an error counts; one of an inner process counts before those that only pass it on.
    """
    texts = [text for text in map(strip_prefix, lines) if text]
    errors = [text for text in texts if _ERROR.match(text) or text.startswith(_INVALID) or "error: " in text]
    specific = [text for text in errors if not any(vague in text for vague in _VAGUE)]
    cause = next(iter([*reversed(specific), *reversed(errors), *reversed(texts)]), "it printed nothing")
    remedy = _find_remedy([cause]) or _find_remedy(reversed(errors))
    return f"{excerpt(cause)}; {remedy}" if remedy else excerpt(cause)


def _find_remedy(texts: Iterable[str]) -> str:
    for text in texts:
        for signs, remedy in _REMEDIES:
            if any(sign in text for sign in signs):
                return remedy
    return ""
