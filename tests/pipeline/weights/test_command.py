"""`python -m turngap_agent weights …`: what it prints, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from turngap_agent import weights
from turngap_agent.__main__ import main
from turngap_agent.errors import WeightsError
from turngap_agent.weights import pins
from turngap_agent.weights.sources import installed

from tests.pipeline import hub_pin
from tests.pipeline.file_server import FileServer, serve


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A cache of its own, one pinned entry `tiny`, and a hub that has it."""
    monkeypatch.setenv("TURNGAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pins, "PINS", hub_pin.write(tmp_path))
    pins.shipped.cache_clear()
    with serve(FileServer({hub_pin.URL_PATH: hub_pin.CONTENT})) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server
    pins.shipped.cache_clear()


def test_list_as_json(hub: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The list says of each entry what it is, on which terms, and whether it is here."""
    assert main(["weights", "list", "--json"]) == 0
    (before,) = json.loads(capsys.readouterr().out)
    assert main(["weights", "pull", "tiny"]) == 0
    capsys.readouterr()
    assert main(["weights", "list", "--json"]) == 0
    (after,) = json.loads(capsys.readouterr().out)
    assert (before["cached"], after["cached"]) == (False, True)
    assert after["licence"] == "MIT"
    assert after["source"] == "hub org/tiny@cccccccc"
    assert after["size"] == len(hub_pin.CONTENT)


def test_list_for_people(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The shipped table names every entry, its licence and the profiles that use it, unfolded in a log."""
    monkeypatch.setenv("TURNGAP_CACHE", str(tmp_path))
    assert main(["weights", "list"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(rows) == {"name", *pins.shipped()}
    assert "CC-BY-SA-3.0" in rows["asterisk-prompts"]
    assert "cpu" in rows["silero-vad"].split("no", 1)[1]


def test_path_is_alone_on_stdout(hub: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    """`path` fetches what is missing and prints the path alone, what it did goes to stderr."""
    assert main(["weights", "path", "tiny"]) == 0
    printed = capsys.readouterr()
    assert Path(printed.out.strip()).read_bytes() == hub_pin.CONTENT
    assert printed.out.count("\n") == 1
    assert "turngap: fetching tiny model.bin (10.0 kB)" in printed.err


def test_verify_fails_on_damage(hub: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    """`verify` ends with 0 when all is as pinned, and with the error's code when a byte is not."""
    assert main(["weights", "verify"]) == 0
    assert "nothing is cached yet" in capsys.readouterr().out
    file = weights.get("tiny")
    assert main(["weights", "verify"]) == 0
    assert "tiny 1: as pinned" in capsys.readouterr().out
    file.write_bytes(hub_pin.CONTENT[::-1])
    assert main(["weights", "verify"]) == 2
    assert "is damaged" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "code"), [(["pull", "nonsense"], 3), (["path", "nonsense"], 3)])
def test_unknown_name(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is not pinned is one line on stderr, and a usage error."""
    assert main(["weights", *arguments]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("turngap: error: ")
    assert printed.err.count("\n") == 1


def test_a_profile_without_models_needs_none(capsys: pytest.CaptureFixture[str]) -> None:
    """It is said so, instead of a list of nothing."""
    assert main(["weights", "pull", "scripted"]) == 0
    assert capsys.readouterr().out == "scripted needs no model files\n"


def test_no_voice_is_a_note(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Pulling everything continues if Debian's prompts cannot be fetched; pulling them by name fails."""

    def pull(name: str) -> list[Path]:
        if name == "asterisk-prompts":
            raise WeightsError("no apt-get here")
        return [Path("/cache") / name]

    monkeypatch.setattr(weights, "pull", pull)
    monkeypatch.setattr(installed, "find", lambda pin: Path("/site"))
    assert main(["weights", "pull", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["unavailable"] == {"asterisk-prompts": "no apt-get here"}
    assert "turngap: note: no apt-get here" in printed.err
    assert main(["weights", "pull", "asterisk-prompts"]) == 2
