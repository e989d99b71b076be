"""Where weights come from: one module a kind of source, each with `fetch(pin, into, partial, progress)`."""
