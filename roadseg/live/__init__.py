"""Many cameras at once, for weeks: what lies between them and whoever watches.

    camera --Frame--> mailbox --> scheduler --labels--> station --> outputs, viewers

A camera that goes away, freezes or blocks costs the others nothing. Nothing grows late: a frame
that is too old is dropped, and every drop is counted with its cause.

Threads: two a camera (`live/camera.py` and `live/reader.py`), one for the network
(`live/scheduler.py`), one for each output that is on (`live/outputs.py`).
"""
