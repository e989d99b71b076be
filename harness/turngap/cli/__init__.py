"""The command line: one module a command; nothing that measures imports it."""
