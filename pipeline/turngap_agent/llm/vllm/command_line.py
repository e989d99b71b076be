"""The command line and environment of `vllm serve`, made from the settings; pure."""

from __future__ import annotations

from collections.abc import Mapping

from turngap_agent.device import amx
from turngap_agent.llm.vllm.settings import VllmSettings

HOST = "127.0.0.1"


def build_arguments(settings: VllmSettings, port: int) -> list[str]:
    """Return the whole command line of a server on `port`.

    Option names are those of vLLM 0.32 (`vllm serve --help=all`).
    """
    options: list[tuple[str, str | int | float | None]] = [
        # Without it vLLM names an architecture that ships here by its folder, and refuses requests for its name.
        ("--served-model-name", settings.model),
        ("--revision", settings.pinned_revision),
        ("--host", HOST),
        ("--port", port),
        ("--load-format", settings.load_format),
        ("--dtype", settings.dtype),
        ("--max-model-len", settings.max_context),
        ("--max-num-seqs", settings.max_sequences),
        ("--max-num-batched-tokens", settings.max_batched_tokens),
        ("--kv-cache-memory-bytes", settings.kv_cache_mib and settings.kv_cache_mib * 1024 * 1024),
        # With a size in bytes vLLM ignores the share, but still checks it against the device's free memory.
        ("--gpu-memory-utilization", settings.gpu_memory_share),
        ("--scheduling-policy", "priority" if settings.priority else "fcfs"),
        ("--performance-mode", "interactivity"),
        ("--stream-interval", 1),
        ("--tensor-parallel-size", settings.tensor_parallel if settings.tensor_parallel > 1 else None),
        ("--data-parallel-size", settings.data_parallel if settings.data_parallel > 1 else None),
        ("--seed", settings.seed),
        ("--otlp-traces-endpoint", settings.otlp_traces_endpoint),
        # A checkpoint's own sampling defaults would change the meaning of `temperature`.
        ("--generation-config", "vllm"),
    ]
    flags = {
        "--enable-prefix-caching": True,
        "--enable-prompt-tokens-details": True,
        "--enable-per-request-metrics": True,
        "--language-model-only": True,
        "--enforce-eager": settings.eager,
        "--skip-tokenizer-init": settings.prompt == "token_ids",
        "--disable-uvicorn-access-log": True,
    }
    pairs = [part for name, value in options if value is not None for part in (name, str(value))]
    switches = [name for name, on in flags.items() if on]
    return [*settings.command, settings.served_model, *pairs, *switches, *settings.extra_arguments]


def build_environment(settings: VllmSettings, own: Mapping[str, str]) -> dict[str, str]:
    """Return the server's environment: the agent's `own`, no usage reports to vLLM's makers, and the settings'.

    AMX is hidden where it traps. A process that dies of a signal prints which and where (PYTHONFAULTHANDLER).
    """
    defaults = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
    if settings.otlp_traces_endpoint is not None:
        defaults["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = "http/protobuf"
    environment = {**own, **defaults, **settings.environment}
    return environment | amx.hiding_environment(environment)
