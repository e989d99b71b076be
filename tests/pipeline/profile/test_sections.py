"""The profile's `barge_in` section: refused where it makes no sense, changed by `--set`."""

import pytest
from turngap_agent import profile
from turngap_agent.errors import ProfileError


def test_it_is_changed_like_any_other_section():
    """`--set barge_in.pause_ms=32` reaches the settings; what is not named stays."""
    chosen = profile.load("cpu", ("barge_in.pause_ms=32",)).barge_in
    assert (chosen.pause_ms, chosen.go_on_ms) == (32, 256)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("barge_in.pause_ms=0", "pause_ms"),
        ("barge_in.backchannel_ms=32", "backchannel_ms"),
        ("barge_in.go_on_ms=90000", "go_on_ms"),
        ("barge_in.echo_below_db=-3", "echo_below_db"),
        ("barge_in.duck=1", "duck"),
    ],
)
def test_nonsense_is_refused_by_name(override, named):
    """One line that names the setting, before anything loads."""
    with pytest.raises(ProfileError, match=named) as refused:
        profile.load("cpu", (override,))
    assert "\n" not in str(refused.value)
