"""Who else is on the GPU before any engine loads."""

from __future__ import annotations

from turngap_agent.gpu.choice import Choice

IDLE_MIB = 256.0
"""In use beside what the driver keeps: less than any CUDA context takes."""
_MIB = 1 << 20


def remark(choice: Choice) -> str | None:
    """One line where another's process uses it, with the remedy; None where nobody does, as far as NVML tells."""
    nvml = choice.nvml
    try:
        running = nvml.nvmlDeviceGetComputeRunningProcesses(choice.handle)
    except nvml.NVMLError:
        running = []  # many containers: the memory tells
    pids = ", ".join(str(process.pid) for process in running)
    held = _held_mib(choice)
    if not pids and (held is None or held <= IDLE_MIB):
        return None
    what = [f"process {pids}" if pids else "", f"{held:,.0f} MiB" if held is not None else ""]
    return (
        f"{choice.words} is in use by others ({', '.join(filter(None, what))}): times and memory will be theirs too; "
        "stop them (`nvidia-smi` lists them), or choose another GPU with gpu.device"
    )


def _held_mib(choice: Choice) -> float | None:
    nvml = choice.nvml
    try:
        now = nvml.nvmlDeviceGetMemoryInfo(choice.handle, nvml.nvmlMemory_v2)
    except (nvml.NVMLError, AttributeError):
        return None  # an old driver counts its own part in
    return float(now.used - getattr(now, "reserved", 0)) / _MIB
