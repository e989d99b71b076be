"""A replicated engine in a profile: what the agent reads of it is that of the engine itself."""

from __future__ import annotations

import pytest
from turngap_agent import profile
from turngap_agent.engines import Placement
from turngap_agent.errors import ProfileError
from turngap_agent.gpu import memory_plan
from turngap_agent.llm.onnx.settings import OnnxSettings
from turngap_agent.llm.vllm.command_line import build_arguments
from turngap_agent.llm.vllm.settings import VllmSettings
from turngap_agent.profile import ownership
from turngap_agent.replicas.settings import ReplicatedLlmSettings
from turngap_agent.tracing import Activity


def test_the_profile_of_a_cluster_takes_nothing_of_this_machines_gpu() -> None:
    """Its engines are wherever Ray places them."""
    cluster = profile.load("cluster")
    assert {cluster.engines()[stage].placement() for stage in ("stt", "llm", "tts")} == {Placement.REMOTE}
    assert memory_plan.parts(cluster, 140_000.0) == ()
    assert not memory_plan.needs_gpu(cluster)
    assert cluster.llm.max_tokens == 48
    assert cluster.llm.keeps_prompts
    assert cluster.says_words


def test_a_tone_in_replicas_is_no_speech() -> None:
    """So no recogniser is asked for its words."""
    changed = profile.change(profile.load("scripted"), ('tts={"engine": "replicas", "of": {"engine": "scripted"}}',))
    assert not changed.says_words


def test_what_the_agent_reads_itself_is_that_of_the_replicated_engine() -> None:
    """Also where the engine's own default is another one; what is given beside it counts."""
    words = 'stt={"engine": "replicas", "of": {"engine": "scripted", "whole_s": 7}}'
    model = '"of": {"engine": "vllm", "system_prompt": ""}'
    changed = profile.change(profile.load("scripted"), (words, f'llm={{"engine": "replicas", {model}}}'))
    assert (changed.stt.whole_s, changed.llm.max_tokens) == (7, 48)
    given = profile.change(profile.load("scripted"), (f'llm={{"engine": "replicas", "max_tokens": 9, {model}}}',))
    assert given.llm.max_tokens == 9


def test_random_weights_in_replicas_have_the_note_of_their_engine() -> None:
    """What they do not show is said there too."""
    of = {"engine": "gemma", "layer_weights": "int4"}
    assert "int4" in profile.random_weights_note({"llm": {"engine": "replicas", "of": of}})


def test_a_replica_keeps_the_conversation_of_every_call() -> None:
    """All calls may be one replica's; without it each call's prompt would put out the other's."""
    of = OnnxSettings(engine="onnx", system_prompt="")
    settings = ReplicatedLlmSettings(engine="replicas", of=of).for_calls(5)
    assert settings.of == of.for_calls(5)
    assert settings.of != of


def test_the_replicated_engines_settings_decide_how_long_a_stage_takes() -> None:
    """By their keys, as the command line takes them."""
    owners = ownership.find_owners(profile.load("cluster").model_dump())
    assert owners[Activity.FIRST_TOKEN] == ownership.Owner("llm.of.model", "gemma-3-27b-it-w4a16")
    profile.load("cluster", (f"{owners[Activity.FIRST_TOKEN].setting}=gemma-3-27b-it-w4a16",))


def test_replicas_of_replicas_are_refused() -> None:
    """One line."""
    nested = '{"engine": "replicas", "of": {"engine": "replicas", "of": {"engine": "scripted"}}}'
    with pytest.raises(ProfileError, match="replicas of replicas"):
        profile.change(profile.load("scripted"), (f"stt={nested}",))


def test_vllm_divides_a_model_over_gpus_and_copies_it() -> None:
    """With vLLM's options; on the agent's own GPU it is refused."""
    settings = VllmSettings(engine="vllm", system_prompt="", tensor_parallel=2, data_parallel=4)
    arguments = build_arguments(settings, 8000)
    assert arguments[arguments.index("--tensor-parallel-size") + 1] == "2"
    assert arguments[arguments.index("--data-parallel-size") + 1] == "4"
    problem = settings.gpu_problem(140_000.0, "H200")
    assert problem is not None
    assert "need 8 GPUs" in problem
    assert "--tensor-parallel-size" not in build_arguments(VllmSettings(engine="vllm", system_prompt=""), 8000)
