"""The rates that a floor is computed with: of the engine's own device, in its own types, or why they are not known."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec

import pytest
from turngap_agent.errors import EngineError
from turngap_agent.stage.command import make_options
from turngap_agent.stage.machine import measure_machine

FIND_SPEC = importlib.util.find_spec


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has only the extra `cpu`."""

    def find(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "torch" else FIND_SPEC(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)


@pytest.mark.usefixtures("without_torch")
@pytest.mark.parametrize(
    ("overrides", "kinds", "says"),
    [
        ((), ("bfloat16",), "the rate of products in bfloat16 on a processor is measured with torch"),
        (
            ("stt.device=cuda", "stt.window=full"),
            ("float16", "int8"),
            "products in float16, int8 on a GPU is measured",
        ),
    ],
)
def test_without_torch_the_rates_of_sixteen_bits_and_of_a_gpu_are_not_known(
    overrides: tuple[str, ...], kinds: tuple[str, ...], says: str
) -> None:
    """And never those of the processor, or of another type, in their place."""
    settings = make_options("stt", "cpu", overrides=overrides).settings
    with pytest.raises(EngineError, match=says):
        measure_machine(settings, kinds)


def test_a_type_that_nothing_multiplies_in_is_named() -> None:
    """CTranslate2 has 16-bit integers; no rate is measured for them."""
    pytest.importorskip("onnxruntime", reason="the extra `cpu` is not installed")
    with pytest.raises(EngineError, match="rate of products in int16 could not be measured"):
        measure_machine(make_options("stt", "cpu").settings, ("int16",))
