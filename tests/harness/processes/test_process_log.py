"""The agent's memory and CPU time, and whose the machine's was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from turngap.processes import process_log
from turngap.processes.process_log import COLUMNS, ProcessSampler, ProcessTree


def csv_file(tmp_path: Path, *rows: str) -> Path:
    file = tmp_path / "process.csv"
    file.write_text("\n".join([",".join(COLUMNS), *rows]))
    return file


def test_our_own_process_uses_memory_and_time() -> None:
    """A living tree has a resident size, and its row has all columns."""
    tree = ProcessTree.of(os.getpid())
    assert tree is not None
    sample = ProcessSampler(tree, tree).sample(1.0)
    assert sample is not None
    assert sample.rss_mib > 10
    assert sample.ours_cpu_s >= sample.cpu_s > 0
    assert len(process_log.format_process_row(sample)) == len(COLUMNS)


def test_an_ended_process_has_no_rows() -> None:
    """Neither a missing process nor one that ended is an error."""
    assert ProcessTree.of(2**22 + 1) is None


def test_figures_take_the_peak_and_add_up_the_time(tmp_path: Path) -> None:
    """Largest memory, CPU time over the rows, and what others took of all cores."""
    capacity = 10.0 * (os.cpu_count() or 1)
    file = csv_file(
        tmp_path,
        "0.000,0,100,1.000,2.000,50.000",
        f"10.000,0,300,4.000,6.000,{54.0 + capacity / 2:.3f}",
    )
    figures = process_log.summarise_process(file)
    assert figures.rss_mib == 300
    assert figures.cpu_s == pytest.approx(3.0)
    assert figures.foreign_cpu_share == pytest.approx(0.5)


def test_time_that_the_host_took_is_a_share_of_the_machine(tmp_path: Path) -> None:
    """Steal counts against all cores; the files of older runs lack the column, and say that none was taken."""
    capacity = 10.0 * (os.cpu_count() or 1)
    file = csv_file(tmp_path, "0,0,100,1,2,50,7", f"10,0,100,3,4,60,{7 + capacity / 4:.3f}")
    assert process_log.summarise_process(file).stolen_cpu_share == pytest.approx(0.25)
    file.write_text("\n".join([",".join(COLUMNS[:-1]), "0,0,100,1,2,50", "10,0,100,3,4,60"]))
    assert process_log.summarise_process(file).stolen_cpu_share == 0
    assert process_log.summarise_process(file).cpu_s == pytest.approx(2.0)


def test_the_rows_of_a_resumed_run_are_not_taken_for_one_agent(tmp_path: Path) -> None:
    """The step from the first agent's last row to the second one's first is left out, and so is a torn row."""
    file = csv_file(
        tmp_path,
        "0,0,100,1,2,50",
        "10,0,100,3,4,60",
        "1000,0,100,0.5,1,900",
        "1010,0,100,1.5,2,910",
        "1020,0,10",
    )
    assert process_log.summarise_process(file).cpu_s == pytest.approx(3.0)


def test_no_file_is_nothing_known(tmp_path: Path) -> None:
    """An agent that is not ours has no rows."""
    assert process_log.summarise_process(tmp_path / "process.csv") == process_log.ProcessFigures()
    assert process_log.summarise_process(csv_file(tmp_path)) == process_log.ProcessFigures()
