"""Tests of spans of other frameworks, and of clocks of other hosts."""
