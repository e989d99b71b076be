"""One engine alone, measured: `python -m turngap_agent stage`, which `turngap stage` starts in a process of its own.

`command` reads the options; `cold_start` loads the engine; `units` does one unit of work as a call would ask for it;
`measurement` repeats that; `work` and `rates` give the floor; `document` is what is printed.
"""
