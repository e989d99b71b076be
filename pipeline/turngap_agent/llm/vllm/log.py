"""What `vllm serve` prints: the steps of its start, and why a start failed; pure."""

from __future__ import annotations

import re
import signal
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
_FATAL = re.compile(r"^Fatal Python error: (?P<error>.+)$")
"""Of Python's own fault handler: a signal that kills the process."""
_FATAL_SIGNALS = {
    "Illegal instruction": signal.SIGILL,
    "Segmentation fault": signal.SIGSEGV,
    "Bus error": signal.SIGBUS,
    "Floating-point exception": signal.SIGFPE,
    "Floating point exception": signal.SIGFPE,
    "Aborted": signal.SIGABRT,
}
_FRAME = re.compile(r'^File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<function>\S+)$')
_DIED = (
    re.compile(r"(?P<who>\S+) died unexpectedly.*\(exit code: -(?P<signal>\d+)\)"),
    re.compile(r"Process (?P<who>\S+) \(PID: \d+\) died with exit code -(?P<signal>\d+)"),
    re.compile(r"Failed core proc\(s\): .*'(?P<who>\w+)': -(?P<signal>\d+)"),
)
"""Of the process that started a worker: a negative exit code is a signal."""
_OF_A_PROGRAM = ("SIGILL", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGABRT")
"""Signals that a process earns itself; others are sent to workers by those that end them."""
_VAGUE = (
    "Engine core initialization failed",
    "WorkerProc initialization failed",
    "validation error",
    "EngineDeadError",
    "EngineCore encountered",
    "died unexpectedly",
    "CancelledError",
)
"""Errors whose cause is in another line."""
_REMEDIES: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("SIGILL",),
        "the machine lacks or traps an instruction of the processor: set llm.dtype: float32, or "
        "ONEDNN_MAX_CPU_ISA=AVX2 in llm.environment",
    ),
    (
        ("SIGKILL",),
        "by hand, or because memory ran out: free some, or lower llm.kv_cache_mib or llm.gpu_memory_share",
    ),
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

    A process that was killed by a signal comes first. Else the last line that names an error counts; one of an inner
    process counts before those that only pass it on.
    """
    texts = [text for text in map(strip_prefix, lines) if text]
    errors = [text for text in texts if _ERROR.match(text) or text.startswith(_INVALID) or "error: " in text]
    specific = [text for text in errors if not any(vague in text for vague in _VAGUE)]
    deaths = [_find_fault(texts), *_find_deaths(texts)]
    own = next((death for death in deaths if death and any(name in death for name in _OF_A_PROGRAM)), None)
    sent = next((death for death in deaths if death and "SIGKILL" in death), None)
    candidates = [own, *reversed(specific), sent, *reversed(errors), *reversed(texts), "it printed nothing"]
    cause = next(candidate for candidate in candidates if candidate)
    remedy = _find_remedy([cause]) or ("" if cause in (own, sent) else _find_remedy(reversed(errors)))
    return f"{excerpt(cause)}; {remedy}" if remedy else excerpt(cause)


def _find_fault(texts: Sequence[str]) -> str | None:
    """Return what Python's fault handler last reported: the signal, and where in the code; None if it reported none."""
    for number, text in reversed([*enumerate(texts)]):
        if (fatal := _FATAL.match(text)) is None:
            continue
        known = _FATAL_SIGNALS.get(fatal["error"].split(":")[0])
        thrown = next((what for what in reversed(texts[:number]) if what.startswith("what():")), None)
        if known is signal.SIGABRT and thrown is not None:  # a C++ exception that nothing caught; it says more
            return f"a process was killed by SIGABRT: {thrown.removeprefix('what():').strip()}"
        what = f"{known.name} ({fatal['error']})" if known is not None else f"SIGABRT ({fatal['error']})"
        return f"a process was killed by {what}{_find_place(texts[number + 1 :])}"
    return None


def _find_place(texts: Sequence[str]) -> str:
    """Return ", in FUNCTION (FILE:LINE)", the innermost call of the thread that received the signal; "" without one."""
    current = next((number for number, text in enumerate(texts) if text.startswith("Current thread")), len(texts))
    frame = _FRAME.match(texts[current + 1]) if current + 1 < len(texts) else None
    return f", in {frame['function']} ({frame['file'].rpartition('/')[2]}:{frame['line']})" if frame else ""


def _find_deaths(texts: Sequence[str]) -> list[str]:
    """Return which worker processes were killed by which signal, the last first, as their parents report it."""
    matches = [death.search(text) for text in reversed(texts) for death in _DIED]
    return [f"{match['who']} was killed by {signal_name(int(match['signal']))}" for match in matches if match]


def signal_name(number: int) -> str:
    """Return the name of a signal: "SIGILL"."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _find_remedy(texts: Iterable[str]) -> str:
    for text in texts:
        for signs, remedy in _REMEDIES:
            if any(sign in text for sign in signs):
                return remedy
    return ""
