"""GPU memory: what a profile will need, by arithmetic before anything loads, and what each engine then holds."""
