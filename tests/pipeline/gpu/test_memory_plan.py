"""The memory plan: arithmetic before anything loads, and a refusal that shows it."""

from __future__ import annotations

import pytest
from turngap_agent import profile
from turngap_agent.engines.gpu_memory import MIB
from turngap_agent.errors import ProfileError
from turngap_agent.gpu import memory_plan as plan
from turngap_agent.llm.gemma.settings import POSITION_BYTES
from turngap_agent.profile import Profile
from turngap_agent.tts.csm.settings import SLOT_MIB

CARD_80, CARD_141 = 81_559.0, 143_771.0


def hf(*overrides: str) -> Profile:
    return profile.load("weightless-hf", overrides)


def vllm(**changes: object) -> Profile:
    llm = {"engine": "vllm", "system_prompt": "Be brief.", **changes}
    return Profile.model_validate(hf().model_dump() | {"name": "a100-like", "llm": llm})


def test_a_profile_without_a_gpu_plans_nothing() -> None:
    """The CPU profiles are never refused."""
    for name in ("cpu", "scripted", "weightless-tiny"):
        assert plan.parts(profile.load(name), CARD_80) == ()
        plan.check(profile.load(name), 1.0, 1.0, "a small card")


def test_every_engine_on_the_gpu_has_a_part() -> None:
    """distil-large-v3, Gemma in bf16 with its positions, CSM with its slots, and a context."""
    needed = {part.section: part.mib for part in plan.parts(hf(), CARD_141)}
    assert set(needed) == {"stt", "llm", "tts", "cuda"}
    assert needed["llm"] * 2**20 == pytest.approx(54.0e9 + 2560 * 507_904, rel=0.01)
    assert needed["stt"] * 2**20 == pytest.approx(1.66e9, rel=0.01)
    assert needed["tts"] * 2**20 == pytest.approx(3.76e9, rel=0.02)


def test_positions_and_slots_are_paid_for() -> None:
    """More of either is more memory, by what one takes."""
    small, large = (sum(part.mib for part in plan.parts(hf(f"llm.positions={n}"), CARD_141)) for n in (1024, 2048))
    assert large - small == pytest.approx(1024 * POSITION_BYTES / MIB)
    two, four = (sum(part.mib for part in plan.parts(hf(f"tts.slots={n}"), CARD_141)) for n in (2, 4))
    assert four - two == pytest.approx(2 * SLOT_MIB)


def test_a_spare_takes_as_much_as_its_engine() -> None:
    """It is a part of its own, named as what it is."""
    needed = {part.section: part.mib for part in plan.parts(hf("deadlines.spares=[tts]"), CARD_141)}
    assert needed["tts spare"] == needed["tts"]
    assert set(needed) == {"stt", "llm", "tts", "tts spare", "cuda"}


def test_a_plan_that_fits_is_taken() -> None:
    """On a card of 141 GB that is empty."""
    plan.check(hf(), CARD_141, CARD_141 - 600, "NVIDIA H200")


def test_a_plan_that_can_not_fit_is_refused_with_its_sum() -> None:
    """What is needed, what is free, where it goes, and what to do."""
    with pytest.raises(ProfileError) as fault:
        plan.check(hf(), CARD_80, 20_000.0, "NVIDIA A100-SXM4-80GB")
    text = str(fault.value)
    assert text.startswith("profile 'weightless-hf' needs 61.")
    assert "21.0 GB of 85.5 GB are free on NVIDIA A100-SXM4-80GB" in text
    assert "llm 55.3 GB (27.0 B x 2 bytes, 2560 positions of 0.5 MB)" in text
    assert text.endswith("; stop what else uses it, or lower llm.positions, or lower tts.slots")


def test_a_refusal_advises_what_the_engines_have() -> None:
    """Settings of other engines are not in the profile."""
    small = vllm(gpu_memory_share=0.3).model_dump()
    stt = {"engine": "faster_whisper", "device": "cuda", "compute_type": "float16", "model": "whisper-large-v3"}
    with pytest.raises(ProfileError) as caught:
        plan.check(Profile.model_validate(small | {"stt": stt}), CARD_80, 20_000.0, "a card")
    advice = str(caught.value).rpartition("; ")[2]
    assert [key for key in ("stt.model", "llm.gpu_memory_share", "tts.slots", "llm.positions") if key in advice] == [
        "stt.model",
        "llm.gpu_memory_share",
        "tts.slots",
    ]


def test_shares_over_the_whole_card_are_refused() -> None:
    """vLLM takes its share whatever else is there: with the others' needs on top it can't fit."""
    with pytest.raises(ProfileError, match=r"needs 90\.3 GB of GPU memory"):
        plan.check(vllm(gpu_memory_share=0.98), CARD_80, CARD_80, "NVIDIA A100-SXM4-80GB")
    plan.check(vllm(gpu_memory_share=0.5), CARD_80, CARD_80, "NVIDIA A100-SXM4-80GB")


def test_a_share_that_can_not_hold_the_weights_is_refused() -> None:
    """Before vLLM spends minutes to find out."""
    with pytest.raises(ProfileError, match=r"leaves 8\.6 GB of 85\.5 GB .* the weights alone take 19\.0 GB"):
        plan.check(vllm(gpu_memory_share=0.1), CARD_80, CARD_80, "NVIDIA A100-SXM4-80GB")


def test_a_server_elsewhere_takes_nothing_here() -> None:
    """`llm.url`: its memory is another machine's."""
    elsewhere = {part.section: part.mib for part in plan.parts(vllm(url="http://host:8000/v1"), CARD_80)}
    here = {part.section: part.mib for part in plan.parts(vllm(), CARD_80)}
    assert "llm" not in elsewhere
    assert (elsewhere["cuda"], here["cuda"]) == (plan.CONTEXT_MIB, 2 * plan.CONTEXT_MIB)


@pytest.mark.parametrize(("model", "size"), [("whisper-large-v3", 1_550), ("whisper-large-v3-turbo", 809)])
def test_faster_whisper_is_counted_by_its_model(model: str, size: int) -> None:
    """float16 takes two bytes a parameter, int8_float16 one."""
    for compute, width in (("float16", 2), ("int8_float16", 1)):
        stt = {"engine": "faster_whisper", "model": model, "device": "cuda", "compute_type": compute}
        parts = plan.parts(Profile.model_validate(hf().model_dump() | {"stt": stt}), CARD_141)
        assert parts[0].mib * MIB == pytest.approx(1.1 * size * 1e6 * width)


def test_vllm_alone_needs_no_gpu() -> None:
    """It runs on a CPU too, unlike the other engines that are configured for a GPU."""
    alone = {"stt": {"engine": "scripted"}, "tts": {"engine": "scripted"}}
    on_cpu = Profile.model_validate(vllm().model_dump() | alone)
    assert (bool(plan.parts(on_cpu, CARD_80)), plan.needs_gpu(on_cpu)) == (True, False)
    assert plan.needs_gpu(vllm())
    assert plan.needs_gpu(hf())
    assert not plan.needs_gpu(profile.load("cpu"))


@pytest.mark.parametrize(("name", "card_mib", "card"), [("a100", CARD_80, "A100"), ("h200", CARD_141, "H200")])
def test_a_production_profile_fits_its_card_and_is_refused_on_a_smaller_one(
    name: str, card_mib: float, card: str
) -> None:
    """Whole on the card it is named after; on 24 GB every part of the sum is in the refusal."""
    production = profile.load(name)
    plan.check(production, card_mib, card_mib - 600, card)
    assert sum(part.mib for part in plan.parts(production, card_mib)) < 0.75 * card_mib
    with pytest.raises(ProfileError, match=r"llm\.gpu_memory_share leaves 1\d\.\d GB of 25\.8 GB on a small card"):
        plan.check(production, 24_564.0, 24_000.0, "a small card")
    larger = profile.load(name, ("llm.gpu_memory_share=0.8",))
    with pytest.raises(ProfileError) as caught:
        plan.check(larger, 24_564.0, 24_000.0, "a small card")
    for part in (
        "stt 1.7 GB (distil-large-v3: 756 M x 2 bytes",
        "llm 20.6 GB (80% of the card",
        "tts 3.",
        "cuda 1.0 GB",
    ):
        assert part in str(caught.value)


def test_shares_over_the_whole_are_refused_in_the_profile() -> None:
    """A share is at most 1: the key and its bound stand in the line."""
    with pytest.raises(ProfileError, match=r"`llm\.gpu_memory_share` .*at most 1, not 1\.1"):
        profile.load("a100", ("llm.gpu_memory_share=1.1",))
