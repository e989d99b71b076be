"""Fuzzing of everything that reads what others wrote: `python -m tests.fuzz`, and a small part of it in every test run.

The property: input is read, or refused by the package's own error, in lines that name the file; nothing else is raised,
nothing hangs, and memory stays bounded.
"""
