"""The section of a profile that names an engine: its keys are that engine's, and every error says where it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap_agent import profile
from turngap_agent.errors import ProfileError
from turngap_agent.profile import PROFILES, Profile
from turngap_agent.profile.sections import EndpointingSettings
from turngap_agent.stt.faster_whisper.settings import FasterWhisperSettings
from turngap_agent.stt.scripted import ScriptedSttSettings
from turngap_agent.tts.scripted import ScriptedTtsSettings

from tests.pipeline.engines.packages import install


def write(folder: Path, stt: str) -> Path:
    """The scripted profile with that line for `stt`, which is line 8."""
    path = folder / "mine.yaml"
    lines = (PROFILES / "scripted.yaml").read_text("utf-8").splitlines()
    assert lines[7].startswith("stt:")
    path.write_text("\n".join([*lines[:7], f"stt: {stt}", *lines[8:]]))
    return path


@pytest.mark.parametrize(
    ("stt", "facts"),
    [
        ("{engine: wisper}", ("`stt.engine`", "'wisper'", "`whisper`", "faster_whisper, whisper, scripted")),
        (
            "{engine: whisper, thread: 1}",
            ("`stt.thread`", "valid keys: cores, decoder, device, engine, own_process, script, "),
        ),
        ("{engine: faster_whisper, thread: 1}", ("`stt.thread`", "`threads`")),
        ("{engine: faster_whisper, threads: 0}", ("`stt.threads`", "at least 1")),
        ("{}", ("`stt.engine`", "missing")),
        ("{engine: 3}", ("`stt.engine`", "3")),
        ("whisper", ("`stt`", "mapping")),
    ],
)
def test_an_error_says_where_it_is_and_what_is_valid_there(tmp_path: Path, stt: str, facts: tuple[str, ...]) -> None:
    """File and line, and the keys of the named engine alone: `threads` is none of `whisper`'s."""
    path = write(tmp_path, stt)
    with pytest.raises(ProfileError) as caught:
        profile.load(str(path))
    line = str(caught.value)
    assert line.startswith(f"{path}:8: ")
    assert "\n" not in line
    for fact in facts:
        assert fact in line
    assert "valid keys" not in line or "threads" not in line


def test_an_override_is_named_instead_of_the_line() -> None:
    """It is on no line of the file."""
    with pytest.raises(ProfileError, match=r"^--set 'stt\.engine=wisper': `stt\.engine`: no stt engine"):
        profile.load("cpu", ("stt.engine=wisper",))


def test_a_profile_names_an_engine_of_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its keys are checked, and dumped, as those of engines that ship."""
    install(tmp_path / "package", monkeypatch)
    chosen = profile.load(str(write(tmp_path, "{engine: mine, beams: 4}")))
    assert chosen.model_dump()["stt"] == {"engine": "mine", "own_process": False, "whole_s": None, "beams": 4}
    assert chosen.model_dump(mode="json", exclude_unset=True)["stt"] == {"engine": "mine", "beams": 4}
    assert type(profile.change(chosen, ("stt.beams=5",)).stt) is type(chosen.stt)
    with pytest.raises(ProfileError, match=r"mine\.yaml:8: unknown key `stt\.beam`; did you mean `beams`"):
        profile.load(str(write(tmp_path, "{engine: mine, beam: 4}")))


def test_a_broken_package_is_named_with_file_and_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, also where its message has braces."""
    install(tmp_path / "package", monkeypatch, "raise RuntimeError('{broken}')")
    with pytest.raises(ProfileError) as caught:
        profile.load(str(write(tmp_path, "{engine: mine}")))
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / 'mine.yaml'}:8: `stt.engine`: engine 'mine' of package my-engines 1.2 ")
    assert "RuntimeError: {broken}" in line
    assert "\n" not in line


def test_settings_are_taken_as_objects_too() -> None:
    """Of the field's stage alone."""
    data = profile.load("scripted").model_dump()
    settings = FasterWhisperSettings(engine="faster_whisper")
    assert Profile.model_validate(data | {"stt": settings}).stt is settings
    with pytest.raises(ValueError, match="stt"):
        Profile.model_validate(data | {"stt": ScriptedTtsSettings(engine="scripted")})


def test_the_turn_model_has_a_default_and_may_be_none() -> None:
    """`null` is no engine; leaving it out is Smart Turn."""
    assert EndpointingSettings().model is not None
    assert EndpointingSettings().model.engine == "smart_turn"
    assert EndpointingSettings.model_validate({"model": None}).model is None


def test_engines_are_those_that_load() -> None:
    """The turn model only where the policy uses it."""
    assert list(profile.load("scripted").engines()) == ["vad", "stt", "llm", "tts"]
    assert list(profile.load("a100").engines()) == ["vad", "turn", "stt", "llm", "tts"]
    assert isinstance(profile.load("scripted").engines()["stt"], ScriptedSttSettings)


def test_a_note_on_random_weights_is_read_from_data() -> None:
    """Old run folders may name engines that are not here: no note then."""
    assert "neither FAIL nor PASS" in profile.random_weights_note({"llm": {"engine": "gemma"}})
    both = {"stt": {"engine": "whisper"}, "llm": {"engine": "gemma"}}
    assert profile.random_weights_note(both).count("conclusive") == 2
    for data in (
        {},
        {"llm": None},
        {"stt": {"engine": "whisper", "decoder": "static"}},
        {"llm": {"engine": "gone"}},
        {"llm": {"engine": "vllm"}},
    ):
        assert profile.random_weights_note(data) == ""
