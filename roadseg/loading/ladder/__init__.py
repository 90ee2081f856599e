"""Which network at which input a machine has time for: what `--model auto` takes.

A *rung* is a network and the area of its input, with the accuracy that was measured for it. Rungs
are timed once on a machine (`timing`), the times are kept (`kept`), and the best rung is taken that
keeps up with a source (`pick`). `roadseg.loading.choice` puts these together.
"""
