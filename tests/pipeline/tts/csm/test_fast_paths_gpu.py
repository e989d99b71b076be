"""On a GPU: every faster path, in captured graphs and compiled, has the codes and samples of the eager reference."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent.device.execution import HOPPER, Mode, has_dependent_launch
from turngap_agent.device.stand_in_tokenizer import StandInTokenizer
from turngap_agent.tts.csm import model, random_weights
from turngap_agent.tts.csm.context import SpeechPlan
from turngap_agent.tts.csm.fast_paths import REFERENCE, FastPaths
from turngap_agent.tts.csm.sampling import Sampling
from turngap_agent.tts.csm.speech import Speech

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's compiler, of torch's own functions
]
CALLS = 2
PLANS = [SpeechPlan((), tuple(range(20, 35)), 8), SpeechPlan((), tuple(range(40, 70)), 8)]
INT8 = FastPaths(int8_depth=True)
PATHS = {
    "sampling": FastPaths(frozenset({"sampling"})),
    "attention": FastPaths(frozenset({"attention"})),
    "depth": FastPaths(frozenset({"depth"})),
    "beside": FastPaths(codec_beside=True),
    "all": FastPaths(frozenset({"sampling", "attention"}), codec_beside=True),
    "int8": INT8,
    "int8-kernel": FastPaths(frozenset({"int8"}), int8_depth=True),
    "batched": FastPaths(batched=True),
    "dependent-launch": FastPaths(dependent_launch=True),
}


@pytest.fixture(scope="module")
def checkpoint() -> model.CsmCheckpoint:
    """The tiny network on the GPU in fp32, so that roundings do not choose codes."""
    with model.silence_transformers():
        network = random_weights.build(random_weights.tiny(), torch.device("cuda"), torch.float32, scale=0.3)
    model.trim_heads(network)
    return model.CsmCheckpoint(network, StandInTokenizer(256), "tiny", random=False)


def speak(checkpoint: model.CsmCheckpoint, fast: FastPaths, mode: Mode) -> tuple[list[list[int]], torch.Tensor]:
    """Return the codes and samples (frames, samples) of two calls that speak at once, frame by frame."""
    speech = Speech(checkpoint, sampling=Sampling(0.9, 20), positions=512, fast=fast)
    speech.prepare(mode, CALLS)
    codes, samples = [], []
    with speech.execution.activate():
        for seed, (slot, plan) in enumerate(zip(speech.slots, PLANS, strict=True)):
            slot.start(plan, seed)
        for _ in range(PLANS[0].frames):
            for slot in speech.slots:
                # One frame at a time: the codes are then those of the frame that is read.
                if speech.batch is None:
                    frame = slot.next_frame(look_ahead=False)
                else:
                    frame = speech.batch.next_frame(slot, speech.slots, look_ahead=False)
                assert frame is not None
                codes.append(slot.last_codes().tolist())
                samples.append(torch.from_numpy(frame))
    return codes, torch.stack(samples)


@pytest.fixture(scope="module")
def references(checkpoint: model.CsmCheckpoint) -> dict[bool, tuple[list[list[int]], torch.Tensor]]:
    """Of full weights and of 8-bit ones, launched one by one."""
    return {fast.int8_depth: speak(checkpoint, fast, Mode.EAGER) for fast in (REFERENCE, INT8)}


@pytest.mark.parametrize("mode", [Mode.GRAPHS, Mode.COMPILED])
@pytest.mark.parametrize("name", list(PATHS))
def test_a_faster_path_has_the_codes_of_the_reference(
    checkpoint: model.CsmCheckpoint,
    references: dict[bool, tuple[list[list[int]], torch.Tensor]],
    name: str,
    mode: Mode,
) -> None:
    """Two calls at once, drawn codes."""
    fast = PATHS[name]
    if fast.dependent_launch and mode is not Mode.COMPILED:
        pytest.skip("only compiled kernels have dependent launches")
    if fast.dependent_launch and (torch.cuda.get_device_capability() < HOPPER or not has_dependent_launch()):
        pytest.skip("needs a Hopper card, and a torch whose compiler has dependent launches")
    codes, samples = speak(checkpoint, fast, mode)
    expected, expected_samples = references[fast.int8_depth]
    assert codes == expected
    torch.testing.assert_close(samples, expected_samples, atol=1e-3, rtol=0)


@pytest.mark.parametrize("mode", [Mode.GRAPHS, Mode.COMPILED])
def test_looking_ahead_changes_no_sample(checkpoint: model.CsmCheckpoint, mode: Mode) -> None:
    """With the codec beside the next frame, which is launched before this one is read."""
    frames = []
    for look_ahead in (False, True):
        speech = Speech(checkpoint, sampling=Sampling(0.9, 20), positions=512, fast=FastPaths(codec_beside=True))
        speech.prepare(mode, 1)
        with speech.execution.activate():
            speech.slots[0].start(PLANS[0], 1)
            read = [speech.slots[0].next_frame(look_ahead=look_ahead) for _ in range(PLANS[0].frames)]
        frames.append(torch.stack([torch.from_numpy(frame) for frame in read if frame is not None]))
    assert frames[0].shape == (PLANS[0].frames, 1920)
    assert torch.equal(*frames)
