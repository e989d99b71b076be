"""Every place where a name from a known set is refused: one line, with the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap.cli.app import execute
from turngap_agent.errors import UsageError
from turngap_agent.weights import pins

ROOT = Path(__file__).parents[3]
AT_URL = ("run", "smoke", "--url", "ws://127.0.0.1:9/")


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (("run", "smok"), "'smoke'"),
        (("run", "smoke", "--profile", "CPU"), "'cpu'"),
        (("run", "smoke", "--budget", "sub50"), "'sub500'"),
        (("run", "smoke", "--network", "jiter20"), "'jitter20'"),
        (("run", "smoke", "--inject", "transcripton=5"), "'transcription'"),
        (("run", "smoke", "--set", "endpointng.pace=null"), "'endpointing'"),
        (("run", "smoke", "--set", "endpointing.pace=patiend"), "'patient'"),
        (("run", "smoke", "--set", "stt={engine: wisper}"), "`whisper`"),
        (("run", "noisy.scenario.yaml"), "'pink'"),
        ((*AT_URL, "--spans", "livekti"), "'livekit'"),
        ((*AT_URL, "--dialect", "telnix"), "'telnyx'"),
        (("sweep", "smoke", "--profile", "cpuu", "--set", "endpointing.pace=patient,eager"), "'cpu'"),
        (("export", ".", "--format", "junitt"), "'junit'"),
        (("corpus", "pull", "eot-bench-em"), "'eot-bench-en'"),
        (("corpus", "show", "ami-es2004b"), "'ami-es2004a'"),
        (("recording", "a.wav", "--caller", "rigth"), "'right'"),
        (("smoke", "--fake", "--fake-does", "voicemal"), "'voicemail'"),
        (("doctor", "--profile", "cpuu"), "'cpu'"),
        (("stage", "stt", "--profile", "cpuu"), "'cpu'"),
        (("chaos", "--profile", "scriptd"), "'scripted'"),
        (("chaos", "--only", "sttt/raise"), "'stt'"),
        (("capacity", "--shape", "spikee"), "'spike'"),
        (("capacity", "gatte"), "'gate'"),
        (("capacity", "--budget", "edge50"), "'edge500'"),
        (("rnu",), "'run'"),
        (("run", "--netwrk", "x"), "--network"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_the_nearest_name_is_in_the_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    nearest: str,
) -> None:
    """Whatever the option; exit code 3, and nothing is written."""
    (tmp_path / "noisy.scenario.yaml").write_text("name: n\nturns: [{say: a, noise: {kind: pnk, snr_db: 5}}]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TURNGAP_CACHE", str(tmp_path / "cache"))
    assert execute(list(arguments)) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("turngap: error: ")
    assert nearest in line
    assert not (tmp_path / "results").exists()


def test_weights_are_suggested_too() -> None:
    """By the agent's own commands."""
    with pytest.raises(UsageError, match=r"no weights 'silero-vadd' are pinned; did you mean 'silero-vad'\? There are"):
        pins.of("silero-vadd")


def test_one_function_finds_the_nearest_name() -> None:
    """No other module looks for names that are alike."""
    users = [
        str(path.relative_to(ROOT))
        for folder in ("harness", "pipeline")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "get_close_matches" in path.read_text("utf-8")
    ]
    assert users == ["pipeline/turngap_agent/names.py"]
