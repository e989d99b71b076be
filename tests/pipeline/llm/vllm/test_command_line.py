"""The command line and environment of `vllm serve`, made from the settings."""

import pytest
from pydantic import ValidationError
from turngap_agent import profile
from turngap_agent.llm.vllm import command_line
from turngap_agent.llm.vllm.settings import VllmSettings

GEMMA = VllmSettings(engine="vllm", system_prompt="Be brief.")


def value(arguments: list[str], option: str) -> str:
    return arguments[arguments.index(option) + 1]


def test_the_default_is_gemma_3_27b_in_int4_at_a_pinned_commit() -> None:
    """Model, revision, priorities, prefix caching, and what the spans need."""
    line = command_line.build_arguments(GEMMA, 8123)
    assert line[:3] == ["vllm", "serve", "RedHatAI/gemma-3-27b-it-quantized.w4a16"]
    assert value(line, "--revision") == "2b537554d6c6f6368945e8df4e5fb7bbbb5d56c9"
    assert (value(line, "--host"), value(line, "--port")) == ("127.0.0.1", "8123")
    assert value(line, "--scheduling-policy") == "priority"
    assert value(line, "--stream-interval") == "1"
    for flag in ("--enable-prefix-caching", "--enable-prompt-tokens-details", "--enable-per-request-metrics"):
        assert flag in line
    for absent in ("--kv-cache-memory-bytes", "--enforce-eager", "--skip-tokenizer-init", "--otlp-traces-endpoint"):
        assert absent not in line


def test_production_bounds_how_long_a_long_prompt_holds_up_others() -> None:
    """vLLM's default differs by card, so both cards' profiles and the weightless one set it."""
    for name in ("a100", "h200", "weightless"):
        settings = profile.load(name).llm
        assert isinstance(settings, VllmSettings)
        assert value(command_line.build_arguments(settings, 1), "--max-num-batched-tokens") == "512"
    assert "--max-num-batched-tokens" not in command_line.build_arguments(GEMMA, 1)


def test_an_architecture_that_ships_is_served_by_its_name() -> None:
    """vLLM gets its folder; requests and the check of what is served use the name."""
    settings = GEMMA.model_copy(update={"model": "gemma-3-27b-w4a16", "load_format": "dummy"})
    line = command_line.build_arguments(settings, 8000)
    assert any(part.endswith("architectures/gemma-3-27b-w4a16") for part in line)
    assert value(line, "--served-model-name") == "gemma-3-27b-w4a16"


def test_another_model_does_not_get_gemmas_commit() -> None:
    """A revision belongs to one model: the settings' own, or none."""
    other = GEMMA.model_copy(update={"model": "/models/mine"})
    assert "--revision" not in command_line.build_arguments(other, 1)
    pinned = other.model_copy(update={"revision": "0" * 40})
    assert value(command_line.build_arguments(pinned, 1), "--revision") == "0" * 40


def test_every_setting_has_its_option() -> None:
    """Random weights, memory, context, eager mode, ids for text, traces, another command, further options."""
    settings = VllmSettings(
        engine="vllm",
        system_prompt="",
        command=("/opt/vllm/bin/vllm", "serve"),
        load_format="dummy",
        dtype="bfloat16",
        gpu_memory_share=0.3,
        kv_cache_mib=2,
        max_context=2048,
        max_sequences=4,
        max_batched_tokens=512,
        eager=True,
        prompt="token_ids",
        script="Yes.",
        priority=False,
        otlp_traces_endpoint="http://127.0.0.1:4318/v1/traces",
        extra_arguments=("--tensor-parallel-size", "2"),
    )
    line = command_line.build_arguments(settings, 1)
    assert line[:2] == ["/opt/vllm/bin/vllm", "serve"]
    assert value(line, "--load-format") == "dummy"
    assert value(line, "--dtype") == "bfloat16"
    assert value(line, "--gpu-memory-utilization") == "0.3"
    assert value(line, "--kv-cache-memory-bytes") == str(2 * 1024 * 1024)
    assert value(line, "--max-model-len") == "2048"
    assert value(line, "--max-num-seqs") == "4"
    assert value(line, "--max-num-batched-tokens") == "512"
    assert value(line, "--scheduling-policy") == "fcfs"
    assert value(line, "--otlp-traces-endpoint") == "http://127.0.0.1:4318/v1/traces"
    assert {"--enforce-eager", "--skip-tokenizer-init"} <= {*line}
    assert line[-2:] == ["--tensor-parallel-size", "2"]


def test_the_environment_is_the_agents_own_and_the_settings() -> None:
    """Nothing is reported to vLLM's makers; the profile overrides everything else."""
    settings = GEMMA.model_copy(update={"environment": {"A": "profile"}})
    assert command_line.build_environment(settings, {"A": "own", "B": "own"}) == {
        "A": "profile",
        "B": "own",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
    }
    traced = GEMMA.model_copy(update={"otlp_traces_endpoint": "http://127.0.0.1:4318/v1/traces"})
    assert command_line.build_environment(traced, {})["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] == "http/protobuf"


def test_a_profile_can_use_the_engine() -> None:
    """It is one of a profile's language models, and its settings can be written down and read back."""
    document = profile.load("scripted").model_dump()
    document["llm"] = GEMMA.model_dump()
    assert profile.Profile.model_validate(document).llm == GEMMA


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "localhost:8000"},
        {"gpu_memory_share": 1.2},
        {"revision": "main"},
        {"prompt": "token_ids"},
        {"command": ()},
        {"load_format": "random"},
    ],
)
def test_invalid_settings_are_refused(wrong: dict) -> None:
    """Before anything starts."""
    with pytest.raises(ValidationError):
        VllmSettings(engine="vllm", system_prompt="", **wrong)
