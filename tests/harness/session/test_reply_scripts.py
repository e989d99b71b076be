"""Reply scripts are sent to agents with random weights, and to no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap.corpus import clips
from turngap.session import plan, reply_scripts

from tests.harness.tones import scenario_of_tones


@pytest.mark.parametrize(("profile", "sent"), [("weightless-tiny", True), ("scripted", False)])
def test_only_random_weights_get_a_script(tmp_path: Path, profile: str, sent: bool) -> None:
    """The reference's words, and the length of the reply, 14 tokens by default."""
    request = plan.plan_run(str(scenario_of_tones(tmp_path, 1)), profile=profile)
    corpus = clips.build_corpus(request.scenario, lambda _: None)
    call = request.calls[-1]
    words = {corpus.clips[turn.key].transcript for turn in call.turns}
    parameters = reply_scripts.custom_parameters(request, call, corpus)
    assert set(parameters.values()) == ({f"14 {text}" for text in words} if sent else set())
