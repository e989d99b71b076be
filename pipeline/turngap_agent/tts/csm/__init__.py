"""CSM-1B as a streaming synthesiser: first audio after the first frame of 80 ms.

`settings` declares the engine. Reading order: `stack`, `backbone`, `depth` and `codec` (with `convolutions`) are the
network; `slot` makes frames with them, in the way that `device.execution` says; `context` and `text` prepare the input;
`model` and `random_weights` load the weights; `speech` puts the parts together, and `engine` is the engine.
"""
