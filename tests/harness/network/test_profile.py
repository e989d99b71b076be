"""Network profiles: those that ship are valid, and a faulty file is one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap import network
from turngap_agent.errors import ScenarioError


@pytest.mark.parametrize("name", network.list_networks())
def test_shipped_profiles_match_their_names(name: str) -> None:
    """Each file is valid, says what it is, and only `clean` does nothing."""
    profile = network.load_network(name)
    assert profile.name == name
    assert profile.description
    assert profile.does_nothing == (name == network.CLEAN)


def test_every_kind_of_impairment_ships() -> None:
    """Delay, jitter, burst, stall, loss, doubles, disconnect: each in one of them at least."""
    profiles = [network.load_network(name) for name in network.list_networks()]
    uplinks = [profile.uplink for profile in profiles]
    for kind in ("delay_ms", "jitter_ms", "burst", "stall", "loss", "duplicate"):
        assert any(getattr(uplink, kind) for uplink in uplinks), kind
    assert any(profile.disconnect_after_s for profile in profiles)


def test_an_unknown_name_lists_the_known_ones() -> None:
    """The line says what there is."""
    with pytest.raises(
        ScenarioError,
        match=r"no network 'cleen'; did you mean 'clean'\? There are: clean, flaky, .*or give a \.yaml file",
    ):
        network.load_network("cleen")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nuplink: {jiter_ms: 3}\n", r"n\.yaml:2: unknown key `uplink\.jiter_ms`; did you mean `jitter_ms`\?"),
        ("name: x\nuplink:\n  loss: 5\n", r"n\.yaml:3: `uplink\.loss` .*at most 0\.5, not 5"),
        ("name: x\nuplink: {delay_ms: -1}\n", r"n\.yaml:2: `uplink\.delay_ms` .*at least 0, not -1"),
        ("name: x\nuplink: {delay_ms: .nan}\n", r"n\.yaml:2: `uplink\.delay_ms` .*finite"),
        ("name: x\ndownlink: {duplicate: 0.1}\n", r"n\.yaml:1: `downlink\.duplicate` is not possible"),
        ("name: x\nuplink: {loss_run: 3}\n", r"n\.yaml:2: `uplink`: `loss_run` needs `loss`"),
        ("name: x\nuplink: {stall: {every_s: 1}}\n", r"n\.yaml:2: `uplink\.stall\.lasts_ms` is missing"),
        ("", r"n\.yaml: the file is empty; it needs at least `name`"),
    ],
)
def test_a_faulty_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    """File, line, key, and what to do."""
    file = tmp_path / "n.yaml"
    file.write_text(text)
    with pytest.raises(ScenarioError, match=message):
        network.load_network(str(file))


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    """As for every document."""
    with pytest.raises(ScenarioError, match="no such file"):
        network.load_network(str(tmp_path / "n.yaml"))
