"""A leashed command is placed as its starter says, and ends with it."""

import os
import subprocess
import sys

LEASH = (sys.executable, "-m", "turngap_agent.leash")


def test_the_command_runs_with_the_niceness_and_the_cpus_it_is_given():
    """Both are optional; without them the command inherits its starter's."""
    cpu = min(os.sched_getaffinity(0))
    show = (sys.executable, "-c", "import os; print(os.nice(0), sorted(os.sched_getaffinity(0)))")
    nice = os.nice(0) + 1
    placed = [*LEASH, "--nice", str(nice), "--cpus", str(cpu), str(os.getpid()), *show]
    assert subprocess.check_output(placed, text=True) == f"{nice} [{cpu}]\n"
    plain = subprocess.check_output([*LEASH, str(os.getpid()), *show], text=True)
    assert plain == f"{os.nice(0)} {sorted(os.sched_getaffinity(0))}\n"


def test_the_command_ends_when_its_starter_is_killed():
    """The command's end of a pipe is closed within seconds, though nothing signalled it."""
    program = (
        "import os, signal, subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-m', 'turngap_agent.leash', str(os.getpid()), 'sh', '-c',"
        " 'echo up; exec sleep 60'])\n"
        "sys.stdin.readline(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdin
    assert starter.stdout
    assert starter.stdout.readline() == "up\n"
    starter.stdin.close()
    assert starter.stdout.read() == ""  # ends with the last process that has it open
    starter.stdout.close()
    starter.wait(10)


def test_a_starter_that_is_gone_already_starts_nothing():
    """The leash exits at once instead of leaving an orphan."""
    done = subprocess.run([*LEASH, "1", "true"], check=False)
    assert done.returncode == 1
