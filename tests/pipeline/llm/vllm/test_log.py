"""Steps of a start and causes of errors in what vLLM prints."""

import pytest
from turngap_agent.llm.vllm import log


@pytest.mark.parametrize(
    ("line", "step"),
    [
        (
            "(APIServer pid=1) INFO 11-22 11:42:28 [model.py:733] Resolved architecture: LlamaForCausalLM",
            "Resolved architecture: LlamaForCausalLM",
        ),
        (
            "(EngineCore pid=2) INFO 11-22 11:42:58 [core.py:402] init engine (profile, create kv cache, warmup model) "
            "took 4.28 s",
            "init engine (profile, create kv cache, warmup model) took 4.28 s",
        ),
        (
            "\x1b[1;36m(Worker pid=3)\x1b[0;0m INFO 11-22 11:42:52 [runner.py:68] Starting to load model m...",
            "Starting to load model m...",
        ),
        (
            "Loading safetensors checkpoint shards:  50% Completed | 2/4 [00:01<00:01,  1.6it/s]",
            "Loading safetensors checkpoint shards: 50% Completed | 2/4 [00:01<00:01, 1.6it/s]",
        ),
    ],
)
def test_steps_of_a_start_are_recognised(line: str, step: str) -> None:
    """Without process, logger and colours."""
    assert log.find_step(line) == step


@pytest.mark.parametrize(
    "line", ["", "INFO 11-22 11:42:59 [launcher.py:195] Route: /load, Methods: GET", "some warning", "  █     █▄   ▄█"]
)
def test_other_lines_are_no_steps(line: str) -> None:
    """Routes, banners and warnings."""
    assert log.find_step(line) is None


def test_the_cause_is_the_innermost_error_with_its_remedy() -> None:
    """Not the outer process's report of that error."""
    lines = [
        "INFO 11-22 11:42:28 [model.py:733] Resolved architecture: X",
        "(EngineCore pid=7) ERROR 11-22 11:42:05 [core.py:9] Traceback (most recent call last):",
        "(EngineCore pid=7) ERROR 11-22 11:42:05 [core.py:9] torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB",
        "(APIServer pid=6) RuntimeError: Engine core initialization failed. See root cause above.",
        "",
    ]
    assert log.find_cause(lines) == (
        "torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB; "
        "lower llm.gpu_memory_share or llm.max_context, or free the GPU"
    )


def test_the_cause_of_an_invalid_setting_is_the_line_that_names_it() -> None:
    """Not the line that counts the invalid settings."""
    lines = [
        "(APIServer pid=1) pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
        "(APIServer pid=1)   Value error, Invalid repository ID or local directory specified: '/tmp/x'.",
        "(APIServer pid=1) Please verify the following requirements:",
    ]
    assert log.find_cause(lines) == (
        "Value error, Invalid repository ID or local directory specified: '/tmp/x'.; "
        "check llm.model and llm.revision, and the connection to the hub"
    )


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("ValueError: Free memory on device is less than desired GPU memory utilization (0.9)", "llm.gpu_memory_share"),
        ("OSError: You are trying to access a gated repo.", "HF_TOKEN"),
        ("OSError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': '/tmp/x'.", "llm.model"),
        ("vllm: error: unrecognized arguments: --per", "update it"),
        ("RuntimeError: Failed to infer device type", "nvidia-smi"),
        ("importlib.metadata.PackageNotFoundError: No package metadata was found for vllm", "llm.command"),
    ],
)
def test_known_causes_have_a_remedy(line: str, remedy: str) -> None:
    """What to do follows what was wrong, on the same line."""
    cause, advice = log.find_cause([line]).split("; ")
    assert line.startswith(cause.removesuffix("…"))
    assert remedy in advice


def test_without_an_error_the_cause_is_the_last_line() -> None:
    """The error says that the server printed nothing."""
    assert log.find_cause(["first", "last", " "]) == "last"
    assert log.find_cause([]) == "it printed nothing"
    assert log.last_line(["a", "b", ""]) == "b"
