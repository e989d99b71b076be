"""The instrument's own error: a reference agent with a known delay, before a run and beside it."""
