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


VAGUE = "(APIServer pid=6) vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace"
FAULT = """\
(EngineCore pid=7) INFO 11-22 11:42:05 [core.py:9] waiting
Fatal Python error: Illegal instruction

Thread 0x00007f6a049db6c0 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 982 in run

Current thread 0x00007f6a05622b80 (most recent call first):
  File "/opt/vllm/attention/backends/cpu_attn.py", line 544 in forward
  File "/opt/vllm/worker.py", line 4 in execute_model
""".splitlines()


def test_a_worker_that_a_signal_killed_is_the_cause() -> None:
    """With the signal, the place in the code and what to do; not the line that points to a trace."""
    cause = log.find_cause([*FAULT, VAGUE])
    assert cause.startswith("a process was killed by SIGILL (Illegal instruction), in forward (cpu_attn.py:544); ")
    assert "float32" in cause


def test_an_uncaught_exception_of_a_library_is_named() -> None:
    """The library's own words count more than the signal that it raises."""
    lines = ["terminate called after throwing an instance of 'c10::Error'", "  what():  CUDA error: misaligned address"]
    cause = log.find_cause([*lines, "Fatal Python error: Aborted", "", VAGUE])
    assert cause.startswith("a process was killed by SIGABRT: CUDA error: misaligned address")


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (
            "ERROR 11-22 11:42:05 [executor.py:3] Worker proc VllmWorker-0 died unexpectedly (exit code: -4), "
            "shutting down executor.",
            "VllmWorker-0 was killed by SIGILL; ",
        ),
        ("RuntimeError: Process EngineCore_0 (PID: 12) died with exit code -11", "EngineCore_0 was killed by SIGSEGV"),
        (
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): "
            "{'EngineCore': -9}",
            "EngineCore was killed by SIGKILL; by hand, or because memory ran out",
        ),
    ],
)
def test_an_exit_code_of_a_worker_is_a_signal(line: str, cause: str) -> None:
    """As its parent reports it, where nothing printed more."""
    assert log.find_cause([line, VAGUE]).startswith(cause)


def test_a_worker_that_was_ended_after_an_error_is_not_the_cause() -> None:
    """vLLM terminates the other workers: the error itself counts."""
    ended = "ERROR 11-22 11:42:05 [executor.py:3] Worker proc W-1 died unexpectedly (exit code: -15), shutting down."
    assert log.find_cause(["ValueError: no such head size", ended, VAGUE]) == "ValueError: no such head size"
