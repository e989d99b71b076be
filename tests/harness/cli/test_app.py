"""The command line: bad input is one line and the right exit code, and stdout has only the requested output."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from turngap.api.folders import find_report_path
from turngap.cli import app
from turngap.model.result import Verdict
from turngap.processes import child
from turngap.session import agent_processes
from turngap.store import folder as store
from turngap.store.folder import RunFolder

from tests.harness import report_builders as builders
from tests.harness.tones import scenario_of_tones


def run_error(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and error line of a command that must fail with one line and nothing on stdout."""
    code = app.execute(list(arguments))
    captured = capfd.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if line.startswith("turngap: error: ")]
    assert len(lines) == 1, captured.err
    assert "Traceback" not in captured.err
    return code, lines[0].removeprefix("turngap: error: ")


def test_usage_errors_exit_3(capfd: pytest.CaptureFixture[str]) -> None:
    """An unknown option or command and a wrong type are usage, and say where help is."""
    for arguments in (
        ["run", "--nope"],
        ["nope"],
        ["run", "--turns", "many"],
        ["report"],
        ["run", "--agent-nice", "99"],
    ):
        code, line = run_error(capfd, *arguments)
        assert code == 3
        assert "See: turngap" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "nope"], "no profile 'nope'; there are: "),
        (["--set", "stt.nope=1", "--profile", "scripted"], "nope"),
        (["--set", "nonsense", "--profile", "scripted"], "expected section.key=value"),
        (["--turns", "0", "--profile", "scripted"], "--turns 0: "),
        (["--url", "ftp://x"], "expected ws://HOST:PORT/PATH"),
        (["--url", "ws://h/x", "--profile", "cpu"], "--url measures an agent that runs already"),
        (["--budget", "nope", "--profile", "scripted"], "no budget 'nope'"),
    ],
)
def test_user_input_is_checked_first(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Each is a usage error in one line, and no run folder is made."""
    code, line = run_error(
        capfd, "run", str(scenario_of_tones(tmp_path, 1)), "--out", str(tmp_path / "results"), *arguments
    )
    assert code == 3
    assert message in line
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("name: x\nturns: []\n", "turns"),
        ("name: x\nturns: [{say: hello, promt: y}]\n", r":2: unknown key `turns\.0\.promt`; did you mean `prompt`\?"),
        ("name: [\n", "not valid YAML"),
        ("name: x\nturns: [{audio: gone.wav}]\n", r"turn .audio:gone\.wav.: .*gone\.wav"),
        ("name: x\nwarm_up_turns: 0\nturns: [{say: a}]\n", r":2: `warm_up_turns` .*at least 1, not 0$"),
        ("name: x\nturns_per_call: 0\nturns: [{say: a}]\n", r":2: `turns_per_call`: .*at least 1, or `all`, not 0$"),
        ("name: x\nturns_per_call: -1\nturns: [{say: a}]\n", r":2: `turns_per_call`: .*at least 1, or `all`, not -1$"),
        ("name: x\nturns_per_call: most\nturns: [{say: a}]\n", r":2: `turns_per_call`: .*`all`, not 'most'$"),
    ],
)
def test_a_scenario_that_is_no_good_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    """Errors about empty, malformed and incomplete files name the file and what is wrong."""
    file = tmp_path / "bad.scenario.yaml"
    file.write_text(content)
    code, line = run_error(capfd, "run", str(file), "--profile", "scripted")
    assert code == 3
    assert re.search(message, line)
    assert str(file) in line


def test_a_missing_scenario_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """By path, and by name."""
    assert run_error(capfd, "run", str(tmp_path / "no.scenario.yaml"))[0] == 3
    code, line = run_error(capfd, "run", "nope")
    assert (code, "no scenario 'nope'" in line) == (3, True)


def test_a_receiver_port_in_use_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The port that the user chose for spans is named."""
    scenario = scenario_of_tones(tmp_path, 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, line = run_error(
            capfd,
            "run",
            str(scenario),
            "--profile",
            "scripted",
            "--otlp-port",
            port,
            "--out",
            str(tmp_path / "results"),
        )
    assert code == 3
    assert f"--otlp-port {port}: Address already in use" in line


def test_an_agent_that_dies_at_start_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own last words and its log are in the message; the verdict is INVALID."""
    dying = "import sys; print('turngap: error: no memory left for its models', file=sys.stderr); sys.exit(3)"
    monkeypatch.setattr(agent_processes, "serve_command", lambda *_, **__: [sys.executable, "-c", dying])
    scenario, out = str(scenario_of_tones(tmp_path, 1)), str(tmp_path / "results")
    code = app.execute(["run", scenario, "--profile", "scripted", "--json", "--out", out])
    captured = capfd.readouterr()
    (line,) = [each for each in captured.err.splitlines() if each.startswith("turngap: error: ")]
    assert code == 2
    assert "the agent did not start (exit code 3): " in line
    assert "agent.log" in line
    assert json.loads(captured.out)["verdict"] == "INVALID"


def test_a_url_without_an_agent_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A port where nobody listens is reported before anything else is done, because calibrating takes a while."""
    scenario = str(scenario_of_tones(tmp_path, 1))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        code = app.execute(["run", scenario, "--url", f"ws://127.0.0.1:{port}/x", "--out", str(tmp_path / "results")])
    err = capfd.readouterr().err
    (line,) = [each for each in err.splitlines() if each.startswith("turngap: error: ")]
    assert code == 2
    assert f"ws://127.0.0.1:{port}/x" in line
    assert "calibrating" not in err
    assert list((tmp_path / "results").iterdir()) == []


def test_resume_takes_no_other_plan_options(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A resumed run has its scenario, profile and turns from its folder."""
    code, line = run_error(capfd, "run", "--resume", str(tmp_path), "--turns", "5")
    assert (code, "give it alone" in line) == (3, True)
    for option in (("--inject", "encoding=5"), ("--agent-nice", "5")):
        code, line = run_error(capfd, "run", "--resume", str(tmp_path), *option)
        assert (code, "give it alone" in line) == (3, True)
    assert run_error(capfd, "run", "--resume", str(tmp_path))[0] == 3


def test_report_and_export_refuse_a_folder_that_is_no_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A foreign folder is a usage error for both."""
    for arguments in (["report", str(tmp_path)], ["export", str(tmp_path), "--format", "csv"]):
        code, line = run_error(capfd, *arguments)
        assert code == 3
        assert "not a run folder" in line
    folder = RunFolder.create(tmp_path, "run", builders.run_record([]))
    assert run_error(capfd, "export", str(folder.path), "--format", "xml") == (
        3,
        "--format: no format 'xml'; there are: csv, parquet, perfetto, junit, markdown",
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({store.RUN: b'{"schema_version": 1, "run_'}, "run.json: damaged: it is not JSON"),
        ({store.RUN: b'{"schema_version": 99}'}, "schema version 99 is newer than 1, "),
        ({store.RUN: b'{"name": "package.json"}'}, "run.json: not a run of turngap (it has no `schema_version`)"),
        ({store.TURNS: b'{"call": 0, "tu\n{}\n'}, "turns.jsonl:1: damaged: "),
        ({store.TURNS: b"\xff\xfe\n"}, "turns.jsonl:1: damaged: "),
    ],
    ids=["truncated", "future", "foreign", "torn in the middle", "no text"],
)
@pytest.mark.parametrize("command_line", [("report",), ("export", "--format", "csv"), ("run", "--resume")])
def test_a_damaged_run_is_one_line_for_every_command(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    command_line: tuple[str, ...],
    damage: dict[str, bytes],
    message: str,
) -> None:
    """What is wrong and in which file, exit code 3, and the folder is left as it was."""
    record = builders.run_record([]).model_copy(update={"complete": False})
    folder = RunFolder.create(tmp_path / "results", "run", record)
    folder.append(builders.turns(2))
    for name, content in damage.items():
        (folder.path / name).write_bytes(content)
    before = {path: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    code, line = run_error(capfd, *command_line, str(folder.path))
    assert code == app.USAGE
    assert str(folder.path) in line
    assert message in line
    assert before == {path: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    "command_line", [("report",), ("export", "--format", "csv"), ("export", "--format", "perfetto")]
)
@pytest.mark.parametrize(("left", "message"), [(None, "is missing"), (0, "only 0 scored"), (2, "only 2 scored turns")])
def test_a_complete_run_without_its_turns_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], command_line: tuple[str, ...], left: int | None, message: str
) -> None:
    """A report or an export without them would look like that of a run in which nothing happened."""
    turns = builders.turns(3)
    folder = RunFolder.create(tmp_path / "results", "run", builders.run_record(turns))
    if left is None:
        (folder.path / store.TURNS).unlink()
    else:
        folder.append(turns[:left])
    code, line = run_error(capfd, *command_line, str(folder.path))
    assert code == app.USAGE
    assert str(folder.path) in line
    assert f"turns.jsonl {message}" in line.replace("has only", "only")
    assert "run.json lists 3 turns" in line


def test_a_torn_last_line_is_noted_in_the_report(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A kill in mid-write costs that line alone, and the page says so."""
    record = builders.run_record([]).model_copy(update={"complete": False, "planned_turns": 3})
    folder = RunFolder.create(tmp_path / "results", "run", record)
    folder.append(builders.turns(2))
    with (folder.path / store.TURNS).open("ab") as file:
        file.write(b'{"call": 2, "ca')
    assert app.execute(["report", str(folder.path)]) == 0
    assert "a torn last line of 15 bytes was ignored" in Path(capfd.readouterr().out.strip()).read_text()
    assert store.read_run(folder.path).record.n_turns == 2


def test_a_fault_stays_in_the_verdict_when_the_report_is_made_again(tmp_path: Path) -> None:
    """`turngap report` judges only what was killed; a run that a fault ended has the fault in its reasons."""
    turns = [builders.turn(0).model_copy(update={"warm_up": True, "scored": False}), *builders.turns(3)[1:]]
    record = builders.run_record(turns).model_copy(
        update={"complete": False, "planned_turns": 9, "verdict": Verdict.INVALID, "reasons": ("the agent died",)}
    )
    folder = RunFolder.create(tmp_path / "results", "run", record)
    folder.append(turns)
    assert app.execute(["report", str(folder.path)]) == 0
    assert store.read_run(folder.path).record.reasons == ("the agent died",)


def test_version_and_help_exit_0(capfd: pytest.CaptureFixture[str]) -> None:
    """Both print on stdout."""
    assert app.execute(["--version"]) == 0
    assert capfd.readouterr().out.startswith("turngap ")
    assert app.execute(["run", "--help"]) == 0
    assert "--resume" in capfd.readouterr().out


def test_the_agents_own_commands_are_handed_on() -> None:
    """`turngap weights list` is `python -m turngap_agent weights list`, with its output and exit code."""
    for arguments, code in ((["weights", "list", "--json"], 0), (["serve", "--profile", "nope"], 3)):
        done = subprocess.run(child.python_command("turngap", *arguments), capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr


def test_a_killed_runs_report_has_the_turns_it_finished(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`turngap report` brings run.json up to the turns on the disk, says INVALID with what is missing, and renders."""
    turns = builders.turns(4)
    record = builders.run_record([]).model_copy(update={"complete": False, "planned_turns": 9})
    folder = RunFolder.create(tmp_path / "my work" / "results", "run", record)
    folder.append(turns)
    assert app.execute(["report", str(folder.path)]) == 0
    report = Path(capfd.readouterr().out.strip())
    assert report == tmp_path / "my work" / "reports" / "run.html"
    assert report.read_text().startswith("<!")
    read = store.read_run(folder.path).record
    assert (read.n_turns, read.complete, read.verdict) == (4, False, Verdict.INVALID)
    assert f"5 more turns: `turngap run --resume '{folder.path}'`" in " ".join(read.reasons)


def test_a_run_outside_results_has_its_report_inside(tmp_path: Path) -> None:
    """results/ID goes to reports/ID.html; a folder anywhere else keeps its report."""
    assert find_report_path(tmp_path / "results" / "x") == tmp_path / "reports" / "x.html"
    assert find_report_path(tmp_path / "mine" / "x") == tmp_path / "mine" / "x" / "report.html"


def test_a_fault_of_ours_is_no_traceback_for_a_user_who_pipes_to_head() -> None:
    """A closed stdout ends the command quietly."""
    script = f"{sys.executable} -m turngap weights list | head -1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def run_with_closed_pipe(*arguments: str, stderr_too: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the command with nobody reading its stdout."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(
            [sys.executable, "-m", "turngap", *arguments],
            stdout=writing,
            stderr=writing if stderr_too else subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("stderr_too", [False, True])
def test_a_run_whose_reader_has_gone_has_its_report_and_its_exit_code(
    tmp_path: Path, as_json: bool, stderr_too: bool
) -> None:
    """`turngap run ... | head -3` is no FAIL: the run is complete, with its report and its verdict's exit code."""
    scenario, out = str(scenario_of_tones(tmp_path, 1)), tmp_path / "results"
    options = ["--json"] if as_json else []
    done = run_with_closed_pipe(
        "run", scenario, "--profile", "scripted", "--out", str(out), *options, stderr_too=stderr_too
    )
    (folder,) = out.iterdir()
    record = store.read_run(folder).record
    assert record.complete
    assert record.verdict in (Verdict.MEASURED, Verdict.INVALID)  # INVALID on a machine that was busy
    assert done.returncode == record.verdict.exit_code
    assert "Traceback" not in (done.stderr or "")
    assert (tmp_path / "reports" / f"{folder.name}.html").is_file()


@pytest.mark.parametrize("command_line", [("export", "--format", "csv"), ("report",), ("compare", "--json")])
def test_a_closed_pipe_is_no_fail(tmp_path: Path, command_line: tuple[str, ...]) -> None:
    """Exit code 1 is that of a verdict; and nothing is printed on stderr."""
    turns = builders.turns(3)
    folder = RunFolder.create(tmp_path / "results", "run", builders.run_record(turns))
    folder.append(turns)
    name, *options = command_line
    runs = [str(folder.path)] * (2 if name == "compare" else 1)
    done = run_with_closed_pipe(name, *runs, *options)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_command_finds_a_run_by_its_id(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under `results/` of the working folder; what is nowhere is named with both places."""
    monkeypatch.chdir(tmp_path)
    turns = builders.turns(3)
    for name in ("one", "two"):
        RunFolder.create(tmp_path / "results", name, builders.run_record(turns)).append(turns)
    assert app.execute(["report", "one", "--baseline", "two"]) == 0
    assert Path(capfd.readouterr().out.strip()) == tmp_path / "reports" / "one.html"
    assert app.execute(["compare", "one", "two"]) == 0
    assert app.execute(["export", "one", "--format", "csv"]) == 0
    capfd.readouterr()
    for arguments in (["run", "--resume", "one"], ["sweep", "--resume", "one"]):
        code, line = run_error(capfd, *arguments)
        assert code == 3
        assert "results/one" in line
    for arguments in (
        ["report", "no"],
        ["export", "no", "--format", "csv"],
        ["compare", "one", "no"],
        ["run", "--resume", "no"],
    ):
        code, line = run_error(capfd, *arguments)
        assert code == 3
        assert line.startswith("no: no run folder")
        assert "results/no" in line


def test_a_comparison_without_answers_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """No empty table."""
    turns = builders.turns(3)
    RunFolder.create(tmp_path, "one", builders.run_record(turns)).append(turns)
    RunFolder.create(tmp_path, "none", builders.run_record([]))
    code, line = run_error(capfd, "compare", str(tmp_path / "one"), str(tmp_path / "none"))
    assert (code, line.startswith(f"no answered turns in {tmp_path / 'none'}")) == (3, True)


@pytest.mark.parametrize("command", ["run", "sweep", "report"])
def test_the_help_says_where_the_report_lies(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    """One rule, the same words in each."""
    assert app.execute([command, "--help"]) == 0
    text = " ".join(capfd.readouterr().out.split())
    assert "reports/RUN.html for a run in results/, report.html in the folder of any other" in text


def test_the_version_is_printed_without_the_commands() -> None:
    """A package manager asks for it often: nothing but Python's own modules is imported for it."""
    program = (
        "import sys; sys.argv = ['turngap', '--version']\nfrom turngap.__main__ import main\n"
        "try:\n    main()\nfinally:\n"
        "    print(sorted({'typer', 'pydantic', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("turngap ")
    assert done.stderr.strip() == "[]"


def test_a_version_that_nobody_reads_is_no_error() -> None:
    """As `turngap --version | true`."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, "-m", "turngap", "--version"]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_shell_completes_commands_and_options() -> None:
    """`turngap --install-completion` sets it up; this is what the shell asks then."""
    for words, index, expected in (("turngap rec", 1, ["recording"]), ("turngap run --prof", 2, ["--profile"])):
        asked = {"_TURNGAP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(index)}
        command = [sys.executable, "-c", "from turngap.__main__ import main; main()"]
        done = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, check=True)
        assert done.stdout.split() == expected
