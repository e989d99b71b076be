"""Loading: a saved checkpoint is loaded as the real one is, and every error is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent import weights
from turngap_agent.device.execution import Mode
from turngap_agent.errors import EngineError, WeightsError
from turngap_agent.tts.csm import model, random_weights
from turngap_agent.tts.csm.model import CsmCheckpoint
from turngap_agent.tts.csm.sampling import Sampling
from turngap_agent.tts.csm.speech import Speech
from turngap_agent.weights import pins


@pytest.fixture(scope="module")
def saved_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint like one from the hub: untrimmed, with a tokenizer."""
    import tokenizers

    folder = tmp_path_factory.mktemp("checkpoint")
    with model.silence_transformers():
        config = random_weights.tiny()
        network = random_weights.build(config, torch.device("cpu"), torch.float32, scale=0.3)
        network.save_pretrained(folder)
    letters = {chr(code): code for code in range(256)}
    rust = tokenizers.Tokenizer(tokenizers.models.BPE(letters, [], unk_token="?"))
    rust.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def saved_copy(saved_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    for file in saved_checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def speak_codes(checkpoint: CsmCheckpoint) -> list[list[int]]:
    speech = Speech(checkpoint, sampling=Sampling(0, 20), positions=512)
    speech.prepare(Mode.EAGER, 1)
    plan = speech.plan("good day", (), 10)
    with speech.execution.activate():
        speech.slots[0].start(plan, seed=0)
        codes = [speech.slots[0].last_codes().tolist()]
        while speech.slots[0].next_frame() is not None:
            codes.append(speech.slots[0].last_codes().tolist())
    return codes[:10]


def load(folder: Path) -> CsmCheckpoint:
    return model.load(str(folder), device="cpu")


def test_a_saved_checkpoint_speaks_as_the_network_in_memory(saved_checkpoint: Path) -> None:
    """Saved, loaded from the folder and trimmed: the same codes, heads for the codec's codes only, codec in fp32."""
    loaded = load(saved_checkpoint)
    with model.silence_transformers():
        network = random_weights.build(random_weights.tiny(), torch.device("cpu"), torch.float32, scale=0.3)
    model.trim_heads(network)
    built = CsmCheckpoint(network, loaded.tokenizer, "built", random=False)
    assert speak_codes(loaded) == speak_codes(built)
    assert loaded.network.lm_head.weight.shape == (64, 64)
    assert not loaded.random


def test_the_codec_stays_in_fp32_and_rotary_tables_too(saved_checkpoint: Path) -> None:
    """Half-precision positions would be wrong past 256."""
    network = model.load(str(saved_checkpoint), device="cpu", dtype="bfloat16").network
    assert network.lm_head.weight.dtype == torch.bfloat16
    assert network.backbone_model.rotary_emb.inv_freq.dtype == torch.float32
    assert {parameter.dtype for parameter in network.codec_model.parameters()} == {torch.float32}


def test_random_weights_have_the_exact_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,632,100,161 parameters: csm-1b's, tied. (Counted without memory.)"""
    from transformers import CsmForConditionalGeneration

    with torch.device("meta"), model.silence_transformers():
        network = CsmForConditionalGeneration(random_weights.csm_1b())
    network.depth_decoder.model.embed_tokens.weight = network.backbone_model.embed_tokens.embed_audio_tokens.weight
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_632_100_161


def test_random_weights_are_tied_and_have_codebooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an uninitialised network lacks: tied embeddings, codebooks, heads without ids past the codec."""
    monkeypatch.setattr(random_weights, "csm_1b", random_weights.tiny)
    checkpoint = model.load("random", device="cpu")
    network = checkpoint.network
    tied = (
        network.depth_decoder.model.embed_tokens.weight,
        network.backbone_model.embed_tokens.embed_audio_tokens.weight,
    )
    assert tied[0].data_ptr() == tied[1].data_ptr()
    assert checkpoint.random
    books = {name: book for name, book in network.codec_model.quantizer.named_modules() if hasattr(book, "embed_sum")}
    assert len(books) == network.config.codec_config.num_quantizers
    assert {name for name, book in books.items() if float(book.embed.std()) <= 0.5} == set()
    assert all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters())
    assert network.depth_decoder.codebooks_head.weight.shape[-1] == 64


def test_a_truncated_file_is_one_line(saved_copy: Path) -> None:
    """Half a safetensors file."""
    file = saved_copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:20_000])
    with pytest.raises(EngineError, match=r"^csm: the checkpoint in .* is damaged .*; delete the folder and fetch it"):
        load(saved_copy)


def test_missing_weights_are_an_error(saved_copy: Path) -> None:
    """transformers would fill them with noise."""
    from safetensors.torch import load_file, save_file

    weights = load_file(saved_copy / "model.safetensors")
    weights.pop("lm_head.weight")
    save_file(weights, saved_copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EngineError, match=r"1 weights missing or of the wrong shape, first lm_head.weight"):
        load(saved_copy)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", r"is damaged"),
        ("config.json", '{"model_type": "llama"}', r"llama .*tts\.weights"),
        ("tokenizer.json", "{}", r"is damaged \(tokenizer.json: "),
        ("tokenizer.json", None, r"is damaged \(no tokenizer.json\)"),
        ("model.safetensors", None, r"is damaged"),
        ("config.json", None, r"no config\.json.*tts\.weights"),
    ],
)
def test_a_damaged_folder_is_one_line(saved_copy: Path, name: str, content: str | None, message: str) -> None:
    """Whichever file it is."""
    (saved_copy / name).unlink()
    if content is not None:
        (saved_copy / name).write_text(content)
    with pytest.raises(EngineError, match=message) as caught:
        load(saved_copy)
    assert "\n" not in str(caught.value)


def test_another_architecture_is_an_error(saved_copy: Path) -> None:
    """It is not computed as if it were CSM's."""
    config = json.loads((saved_copy / "config.json").read_text())
    config["hidden_act"] = "gelu"
    (saved_copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(EngineError, match=r"SiLU.*tts\.weights"):
        Speech(load(saved_copy), sampling=Sampling(0, 20))


def test_no_gpu_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to check, and how to run without one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match=r"torch sees no NVIDIA GPU: .*; or set tts.device: cpu"):
        model.load("random", device="cuda")
    with pytest.raises(EngineError, match=r"no device is called 'gpu'"):
        model.load("random", device="gpu")


def test_too_little_memory_is_reported_before_anything_loads(
    saved_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With how much is needed and how much is free."""
    monkeypatch.setattr(model, "_free_bytes", lambda device: 2**18)
    with pytest.raises(EngineError, match=r"needs about 0\.\d GiB on cpu, 0\.0 GiB are free"):
        load(saved_checkpoint)


def test_page_caches_count_as_available_memory(tmp_path: Path) -> None:
    """Memory that the system would give up for a program is available, though it is not free."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  8000 kB\nMemFree:     10 kB\nMemAvailable:   3000 kB\n")
    assert model.available_bytes(meminfo) == 3000 * 1024


def test_without_meminfo_the_free_pages_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without that file, or a kernel without that line, reports pages; one with neither reports nothing."""
    pages = {"SC_AVPHYS_PAGES": 7, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(model.os, "sysconf", pages.__getitem__)
    old = tmp_path / "meminfo"
    old.write_text("MemTotal:  8000 kB\nMemFree:     10 kB\n")
    assert model.available_bytes(old) == 7 * 4096
    assert model.available_bytes(tmp_path / "none") == 7 * 4096

    def unknown(name: str) -> int:
        raise ValueError(f"unrecognized configuration name {name}")

    monkeypatch.setattr(model.os, "sysconf", unknown)
    assert model.available_bytes(tmp_path / "none") is None


def test_memory_that_runs_out_while_loading_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may use the memory after the check."""

    def build(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")

    monkeypatch.setattr(random_weights, "csm_1b", random_weights.tiny)
    monkeypatch.setattr(random_weights, "build", build)
    with pytest.raises(
        EngineError, match=r"^csm: cpu ran out of memory \(CUDA out of memory. Tried to allocate 2 GiB\)"
    ):
        model.load("random", device="cpu")


def test_real_weights_are_the_pinned_ones(saved_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the project's own cache, by name; what is missing there is that module's error."""
    names = []

    def get(name: str) -> Path:
        names.append(name)
        return saved_checkpoint

    monkeypatch.setattr(weights, "get", get)
    assert model.load("real", device="cpu").origin == "csm-1b"

    def refuse(name: str) -> Path:
        raise WeightsError(f"{name}: sesame/csm-1b is gated: accept its terms, then set HF_TOKEN")

    monkeypatch.setattr(weights, "get", refuse)
    with pytest.raises(WeightsError, match="gated"):
        model.load("real", device="cpu")
    assert names == [model.PINNED]


def test_the_pinned_weights_are_what_loading_reads() -> None:
    """The pin lists the files that transformers' class and our tokenizer open, only in transformers' form."""
    files = {file.path for file in pins.of(model.PINNED).files}
    assert {"config.json", "tokenizer.json", "transformers.safetensors.index.json"} <= files
    assert not any(name.startswith("model") or name.endswith(".pt") for name in files)
