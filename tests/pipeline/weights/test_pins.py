"""The pins: what ships is complete, and a broken file is one clear line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from turngap_agent import profile, weights
from turngap_agent.errors import UsageError, WeightsError
from turngap_agent.llm.vllm.settings import REVISIONS
from turngap_agent.weights import pins

ENTRY = """
[tiny]
about = "x"
version = "1"
licence = "MIT"
files = [{{ from = "a", to = "{to}", size = 1, {checksum} }}]
source = {{ kind = "{kind}", package = "p", size = 1, sha256 = "{zeros}" }}
"""


def _load(folder: Path, **changes: str) -> dict[str, pins.Pin]:
    zeros = "0" * 64
    values = {"to": "a", "checksum": f'sha256 = "{zeros}"', "kind": "wheel", "zeros": zeros, **changes}
    path = folder / "weights.toml"
    path.write_text(ENTRY.format(**values))
    return pins.load(path)


def test_shipped_pins_are_complete() -> None:
    """Every shipped entry has a licence, a version and a size, and every fetched file its checksum."""
    shipped = pins.shipped()
    assert {"silero-vad", "whisper-tiny.en", "smollm2-135m-instruct", "hibari-tts", "asterisk-prompts"} <= set(shipped)
    for pin in shipped.values():
        assert pin.licence
        assert pin.version
        assert pin.size > 0
        assert pin.tree or pin.by_revision or all(file.identity for file in pin.files)


def test_one_commit_of_a_model_is_pinned() -> None:
    """What vLLM would fetch by the repository's name is the commit that the entry has."""
    source = pins.of("gemma-3-27b-it-w4a16").source
    assert source.kind == "hub"
    assert REVISIONS[source.repo] == source.revision


def test_a_pin_by_revision_needs_no_files_and_bears_none(tmp_path: Path) -> None:
    """`take` replaces `files`; both, or neither, is refused."""
    path = tmp_path / "weights.toml"
    head = '[m]\nabout = "x"\nversion = "1"\nlicence = "MIT"\n'
    file = 'files = [{ from = "a", to = "a", size = 1, git = "%s" }]\n' % ("0" * 40)
    hub = '[m.source]\nkind = "hub"\nrepo = "o/m"\nrevision = "%s"\n' % ("c" * 40)
    path.write_text(head + hub + 'take = ["*"]\nsize = 7\n')
    pin = pins.load(path)["m"]
    assert (pin.by_revision, pin.size) == (True, 7)
    for text in (head + hub, head + file + hub + 'take = ["*"]\n'):
        path.write_text(text)
        with pytest.raises(WeightsError, match=r"one of `files`, `tree` and \(for the hub\) `source\.take` is needed"):
            pins.load(path)


def test_what_the_hub_has_is_fetched_by_name_only() -> None:
    """`weights pull` without a name leaves out gigabytes for a GPU; a profile's name brings them."""
    assert {pin.source.kind for pin in weights.selection(None)} == {"wheel", "installed", "debian"}


def test_cpu_profile_needs_its_four_models() -> None:
    """The embedded profile's stages name pinned models, the synthesiser's own wheel included."""
    names = [pin.name for pin in pins.of_profile("cpu")]
    assert names == ["silero-vad", "whisper-tiny.en", "smollm2-135m-instruct", "hibari-tts"]


def test_scripted_profile_needs_nothing() -> None:
    """A profile without models needs no weights."""
    assert pins.of_profile("scripted") == []


def test_unknown_name() -> None:
    """A name that is not pinned is a usage error that lists what is."""
    with pytest.raises(
        UsageError, match=r"no weights 'silero' are pinned; did you mean 'silero-vad'\? There are: silero-vad, "
    ):
        pins.of("silero")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checksum": 'sha256 = "abc"'}, "`tiny.files.0.sha256`"),
        ({"checksum": 'git = "' + "0" * 40 + '", sha256 = "' + "0" * 64 + '"'}, "either `sha256` or `git`"),
        ({"to": "../a"}, "`tiny.files.0.to`"),
        ({"to": "/a"}, "`tiny.files.0.to`"),
        ({"kind": "ftp"}, "`tiny.source`"),
        ({"zeros": '" broken'}, "cannot be read"),
    ],
)
def test_broken_pin(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    """A pin that cannot be right is one line with the file, the entry and the key."""
    with pytest.raises(WeightsError, match=re.escape(message)) as caught:
        _load(tmp_path, **changes)
    assert str(caught.value).startswith(f"{tmp_path / 'weights.toml'}: ")
    assert "\n" not in str(caught.value)


def test_fingerprint_follows_what_is_fetched(tmp_path: Path) -> None:
    """Another checksum gets another place in the cache; another description does not."""
    before = _load(tmp_path)["tiny"]
    after = _load(tmp_path, checksum='sha256 = "' + "1" * 64 + '"')["tiny"]
    assert before.fingerprint != after.fingerprint
    assert before.model_copy(update={"about": "y"}).fingerprint == before.fingerprint


@pytest.mark.parametrize(("weights", "pinned"), [("real", ["csm-1b"]), ("random", []), ("/some/folder", [])])
def test_csm_needs_its_pin_for_real_weights_only(tmp_path: Path, weights: str, pinned: list[str]) -> None:
    """Random weights and a folder of the user's own are fetched from nowhere."""
    path = tmp_path / "mine.yaml"
    scripted = (profile.PROFILES / "scripted.yaml").read_text("utf-8")
    path.write_text(scripted.replace("tts: {engine: scripted}", f"tts: {{engine: csm, weights: {weights}}}"), "utf-8")
    assert [pin.name for pin in pins.of_profile(str(path))] == pinned
