"""The command line: one module for each command; nothing that measures imports it."""
