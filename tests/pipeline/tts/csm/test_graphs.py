"""Units can be captured and compiled: no graph break, no read-back, one compilation for all frames and calls."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from torch._dynamo.testing import CompileCounter
from turngap_agent.device.execution import Execution, Mode
from turngap_agent.device.operation_counts import Operations
from turngap_agent.tts.csm.context import SpeechPlan
from turngap_agent.tts.csm.slot import SharedParts, Slot

if TYPE_CHECKING:
    from conftest import MakeSpeech
    from turngap_agent.tts.csm.speech import Speech

PLAN = SpeechPlan((), tuple(range(20, 35)), 8)


def make_compiled_slots(speech: Speech, compiler: object, count: int = 1) -> tuple[Execution, list[Slot]]:
    torch._dynamo.reset()
    execution = Execution(torch.device("cpu"), Mode.COMPILED, compiler)
    with execution.activate():
        parts = SharedParts.build(speech.backbone, speech.depth, speech.codec, execution, speech.positions, 0)
        return execution, [Slot(parts) for _ in range(count)]


def run_slot(slot: Slot, execution: Execution) -> torch.Tensor:
    with execution.activate():
        slot.start(PLAN, seed=1)
        return torch.stack([torch.from_numpy(slot.next_frame()) for _ in range(PLAN.frames)])


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_no_unit_reads_back_to_the_host(make_speech: MakeSpeech, temperature: float) -> None:
    """A whole frame, noise and copy included, dispatches no operation that waits for a value; transformers' does."""
    speech = make_speech(temperature=temperature)
    slot = speech.slots[0]
    with speech.execution.activate():
        slot.start(PLAN, seed=1)
        slot.next_frame()
        with Operations() as ours:
            slot.launch()
        ids = torch.tensor([PLAN.text_ids])
        options = {"do_sample": False, "depth_decoder_do_sample": False, "max_new_tokens": 2}
        with Operations() as theirs:
            speech.checkpoint.network.generate(input_ids=ids, **options)
    assert ours.count > 100
    assert ours.host_reads == 0
    assert theirs.host_reads > 0


def test_a_read_back_is_noticed() -> None:
    """The counter of the test above counts what makes the host wait."""
    with Operations() as operations:
        bool(torch.ones(1).sum() > 0)
        torch.ones(3).nonzero()
    assert operations.host_reads == 2


def test_units_compile_without_a_graph_break(make_speech: MakeSpeech) -> None:
    """Each compiled function is one graph (fullgraph raises otherwise), with the eager samples."""
    speech = make_speech(temperature=0.9)
    execution, (slot,) = make_compiled_slots(speech, "eager")
    eager = run_slot(speech.slots[0], speech.execution)
    assert torch.allclose(run_slot(slot, execution), eager, atol=1e-5)


def test_dynamo_reports_no_break(make_speech: MakeSpeech) -> None:
    """Its own report: one graph and no break in a depth step, the longest chain of them."""
    depth = make_speech(temperature=0.9).depth
    torch._dynamo.reset()
    noise = torch.full((1, 64), 0.5)
    with torch.inference_mode():
        report = torch._dynamo.explain(depth.step)(
            torch.tensor([3]), depth.offsets[1], depth.places[2], depth.heads[1], noise
        )
    assert (report.graph_count, report.graph_break_count) == (1, 0)


def test_one_compilation_serves_all_frames_and_calls(make_speech: MakeSpeech) -> None:
    """First depth step, other depth steps, backbone step and codec: compiled once each, whatever frame or slot."""
    counter = CompileCounter()
    execution, slots = make_compiled_slots(make_speech(temperature=0.9, positions=400), counter, count=2)
    for slot in slots:
        run_slot(slot, execution)
    assert counter.frame_count == 4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler, of torch's own functions
def test_inductor_has_the_eager_samples(make_speech: MakeSpeech) -> None:
    """The compiler a GPU uses, on the CPU: same codes, same samples."""
    speech = make_speech()
    execution, (slot,) = make_compiled_slots(speech, "inductor")
    eager = run_slot(speech.slots[0], speech.execution)
    assert torch.allclose(run_slot(slot, execution), eager, atol=1e-4)


INDUCTOR_ON_TF32 = (
    "TensorFloat32 tensor cores for float32 matrix multiplication available but not enabled. "
    "Consider setting `torch.set_float32_matmul_precision('high')` for better performance."
)
"""As torch 2.11's compiler warns on a GPU; later releases log it."""
SETTER_ON_TF32 = "Please use the new API settings to control TF32 behavior, such as torch.backends.cudnn.conv."


def test_tf32_that_is_off_on_purpose_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `filterwarnings = error`: the compiler's advice to turn it on, and the setter's to use a newer one."""
    from torch._inductor import compile_fx

    for message in (INDUCTOR_ON_TF32, SETTER_ON_TF32):
        warnings.warn(message, UserWarning, stacklevel=1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    compile_fx._warn_tf32_disabled()
    monkeypatch.undo()
    torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32
    with pytest.raises(UserWarning, match="another"):
        warnings.warn("another thing of TensorFloat32", UserWarning, stacklevel=1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("mode", [Mode.GRAPHS, Mode.COMPILED])
def test_graphs_have_the_eager_samples(make_speech: MakeSpeech, mode: Mode) -> None:
    """On a GPU: captured units have the codes and samples of the same units launched one by one."""
    from turngap_agent.device.stand_in_tokenizer import StandInTokenizer
    from turngap_agent.tts.csm import random_weights
    from turngap_agent.tts.csm.model import CsmCheckpoint, trim_heads
    from turngap_agent.tts.csm.sampling import Sampling
    from turngap_agent.tts.csm.speech import Speech

    network = random_weights.build(random_weights.tiny(), torch.device("cuda"), torch.float32, scale=0.3)
    trim_heads(network)
    speech = Speech(CsmCheckpoint(network, StandInTokenizer(256), "tiny", random=False), sampling=Sampling(0, 20))
    samples = []
    for each in (Mode.EAGER, mode):
        speech.prepare(each, 2)
        samples.append(run_slot(speech.slots[1], speech.execution))
    assert torch.allclose(*samples, atol=1e-4)
