"""The memory plan of a profile: which engine will hold how much of a GPU, computed before anything loads. Pure.

Weights by the architecture's parameter count and number format; keys and values by positions; one CUDA context for each
process. A plan that can't fit is refused with its arithmetic. What the engines hold once they are loaded is measured,
and stands in the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turngap_agent.errors import ProfileError
from turngap_agent.profile import Profile

MIB = 1 << 20
CONTEXT_MIB = 500.0
"""A CUDA context with its libraries' workspaces, for each process: an estimate, measured on the card when it runs."""
PARAMETERS = {"large-v3": 1_550e6, "large-v3-turbo": 809e6, "distil-large-v3": 756e6, "csm-1b": 1_632e6}
"""As their authors count them; CSM-1B with its codec, counted from the architecture."""
CSM_SLOT_MIB = 80.0
"""Keys and values of 2,560 positions in bf16, and the codec's state."""
GEMMA_BYTES, GEMMA_POSITION_BYTES = 54.0e9, 507_904
"""Gemma 3 27B in bf16; 62 layers of 16 heads of 128, keys and values, for each position."""
GEMMA_W4A16_BYTES = 19.0e9
"""The checkpoint's size, about (`weights.toml`): the larger figure, until it is measured. Arithmetic gives 16 GB:
25.6 B of 4 bits and a 16-bit scale for 128 of them, and embeddings, 1.41 B x 2 bytes. The least that a share must leave
room for."""
_BYTES_A_PARAMETER = {"float32": 4, "int8": 1, "int8_float32": 1, "int8_float16": 1, "int8_bfloat16": 1}
"""Two, for all others."""


@dataclass(frozen=True, slots=True)
class Part:
    """One engine's need."""

    section: str
    """Of the profile: stt, llm, tts; or `cuda`."""
    mib: float
    arithmetic: str
    """How it was computed, for people."""


def parts(profile: Profile, total_mib: float) -> tuple[Part, ...]:
    """What `profile` needs of a GPU of `total_mib`; empty where no engine uses one."""
    found = [part for part in (_stt(profile), _llm(profile, total_mib), _tts(profile)) if part is not None]
    if not found:
        return ()
    processes = 2 if profile.llm.engine == "vllm" and profile.llm.url is None else 1
    return (*found, Part("cuda", processes * CONTEXT_MIB, f"{processes} x {CONTEXT_MIB:.0f} MiB of context"))


def uses_gpu(profile: Profile) -> bool:
    """Whether any engine of `profile` works on a GPU of this machine."""
    return bool(parts(profile, 0.0))


def needs_gpu(profile: Profile) -> bool:
    """Whether an engine of `profile` works on a GPU and on nothing else; vLLM runs on a CPU too."""
    found = {part.section for part in parts(profile, 0.0)} - {"cuda"}
    return bool(found - {"llm"} if profile.llm.engine == "vllm" else found)


def check(profile: Profile, total_mib: float, free_mib: float, card: str) -> None:
    """Refuse a plan that can't fit.

    Raises:
        ProfileError: it needs more than is free on the card, or the language model's share can't hold its weights.
    """
    needed = parts(profile, total_mib)
    share = _share(profile, total_mib)
    if share is not None and share < GEMMA_W4A16_BYTES / MIB and _is_gemma_w4a16(profile):
        raise ProfileError(
            f"profile {profile.name!r}: llm.gpu_memory_share leaves {_gb(share)} of {_gb(total_mib)} on {card}, the "
            f"weights alone take {_gb(GEMMA_W4A16_BYTES / MIB)}; raise it, or take a larger card"
        )
    wanted = sum(part.mib for part in needed)
    if wanted > free_mib:
        raise ProfileError(
            f"profile {profile.name!r} needs {_gb(wanted)} of GPU memory, {_gb(free_mib)} of {_gb(total_mib)} are free "
            f"on {card}: {describe(needed)}; stop what else uses it, take smaller models, or lower llm.gpu_memory_share"
        )


def describe(needed: Sequence[Part]) -> str:
    """The plan as a sum: "stt 1.7 GB (756 M x 2 bytes) + ..."."""
    return " + ".join(f"{part.section} {_gb(part.mib)} ({part.arithmetic})" for part in needed)


def _stt(profile: Profile) -> Part | None:
    stt = profile.stt
    if stt.engine == "whisper" and stt.device.startswith("cuda"):
        return _weights("stt", "distil-large-v3", PARAMETERS["distil-large-v3"], 2)
    if stt.engine == "faster_whisper" and stt.device == "cuda":
        name = max((name for name in PARAMETERS if stt.model.endswith(name)), key=len, default="large-v3")
        return _weights("stt", name, PARAMETERS[name], _BYTES_A_PARAMETER.get(stt.compute_type, 2))
    return None


def _llm(profile: Profile, total_mib: float) -> Part | None:
    llm = profile.llm
    if llm.engine == "gemma" and llm.device.startswith("cuda") and llm.architecture != "tiny":
        size = GEMMA_BYTES + (llm.positions + 512) * GEMMA_POSITION_BYTES
        return Part("llm", size / MIB, f"27.0 B x 2 bytes, {llm.positions + 512} positions of 0.5 MB")
    share = _share(profile, total_mib)
    if share is not None and llm.engine == "vllm":
        return Part("llm", share, f"{llm.gpu_memory_share:.0%} of the card: weights, work and KV cache")
    return None


def _tts(profile: Profile) -> Part | None:
    tts = profile.tts
    if tts.engine == "csm" and tts.device.startswith("cuda") and tts.weights != "tiny":
        part = _weights("tts", "csm-1b", PARAMETERS["csm-1b"], 4 if tts.dtype == "float32" else 2)
        slots = tts.slots * CSM_SLOT_MIB
        return Part("tts", part.mib + slots, f"{part.arithmetic}, {tts.slots} slots of {CSM_SLOT_MIB:.0f} MiB")
    return None


def _weights(section: str, name: str, parameters: float, size: int) -> Part:
    return Part(section, 1.1 * parameters * size / MIB, f"{name}: {parameters / 1e6:,.0f} M x {size} bytes and a tenth")


def _share(profile: Profile, total_mib: float) -> float | None:
    llm = profile.llm
    return llm.gpu_memory_share * total_mib if llm.engine == "vllm" and llm.url is None else None


def _is_gemma_w4a16(profile: Profile) -> bool:
    llm = profile.llm
    return llm.engine == "vllm" and "gemma-3-27b" in llm.model.lower()


def _gb(mib: float) -> str:
    return f"{mib * MIB / 1e9:.1f} GB"
