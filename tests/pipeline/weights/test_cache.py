"""Where the cache is, and how files are recognised."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from turngap_agent.weights import cache


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"TURNGAP_CACHE": "/a/b", "XDG_CACHE_HOME": "/c"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/turngap"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/turngap"),
        ({"XDG_CACHE_HOME": ""}, "/home/me/.cache/turngap"),
        ({}, "/home/me/.cache/turngap"),
    ],
)
def test_root(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str) -> None:
    """TURNGAP_CACHE, then an absolute XDG_CACHE_HOME, then ~/.cache."""
    monkeypatch.setenv("HOME", "/home/me")
    for name in ("TURNGAP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache.root() == Path(expected)


def test_tree_digest_is_sha256sums(tmp_path: Path) -> None:
    """The digest of a set is that of what sha256sum prints, so that anybody can check it."""
    for name in ("b.wav", "a/1.wav", "a-1.wav", "B.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    command = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum"
    listing = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=True).stdout
    assert cache.tree_digest(tmp_path) == hashlib.sha256(listing).hexdigest()


def test_git_identity(tmp_path: Path) -> None:
    """A file is recognised by the object id that git computes, and not by another's."""
    path = tmp_path / "config.json"
    path.write_text("hello\n")
    assert cache.has_identity(path, "ce013625030ba8dba906f756967f9e9ca394464a")
    path.write_text("jello\n")
    assert not cache.has_identity(path, "ce013625030ba8dba906f756967f9e9ca394464a")
