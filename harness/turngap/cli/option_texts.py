"""Texts and defaults of options that several commands have."""

from __future__ import annotations

RESULTS = "results"
RUN = "A run: its folder, or its id under results/."
REPORT = "reports/RUN.html for a run in results/, report.html in the folder of any other"
OUT = f"Folder in which the run's folder is made. [default: results] The report: {REPORT}."
RAY = "Place the calls from the nodes of this Ray cluster: HOST:PORT, or local."
RAY_JOBS = "Measure each setting by a job of this Ray cluster, one GPU each: HOST:PORT, or local."
