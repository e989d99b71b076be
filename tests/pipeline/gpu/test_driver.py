"""Why torch does not reach a GPU: each cause has its own line with its own remedy."""

from __future__ import annotations

import pytest
from turngap_agent.gpu.driver import Driver, why_unreachable

from tests.pipeline.gpu.fake_nvml import nvml

DRIVER = Driver(1, "550.54", (12, 4))


@pytest.mark.parametrize(
    ("torch_cuda", "driver", "environment", "words"),
    [
        ("12.8", None, {}, "no NVIDIA GPU or no driver"),
        ("12.8", Driver(0, "550.54", (12, 4)), {}, "no NVIDIA GPU or no driver"),
        (None, DRIVER, {}, "torch is a CPU build"),
        ("13.0", DRIVER, {}, "driver 550.54 runs CUDA up to 12.4, and torch is built for 13.0; update the driver"),
        ("12.8", DRIVER, {"CUDA_VISIBLE_DEVICES": "MIG-gone"}, "CUDA_VISIBLE_DEVICES='MIG-gone' hides it"),
        ("12.8", DRIVER, {}, "CUDA does not start on it"),
        ("13.0", Driver(1, "550.54", None), {}, "CUDA does not start on it"),
    ],
)
def test_each_cause_has_its_line(
    torch_cuda: str | None, driver: Driver | None, environment: dict[str, str], words: str
) -> None:
    """A newer minor version of the same major runs: CUDA's minor version compatibility."""
    reason = why_unreachable(torch_cuda, driver, environment)
    assert words in reason
    assert "\n" not in reason


def test_the_driver_is_read_from_nvml() -> None:
    """12040 is CUDA 12.4; a driver that does not tell, and none at all."""
    assert Driver.read(nvml()) == Driver(2, "550.54", (12, 4))
    assert Driver.read(nvml(nvmlSystemGetCudaDriverVersion_v2=None)) == Driver(2, "550.54", None)
    assert Driver.read(nvml(nvmlInit=None)) is None
