"""A procedural drive through a town, with the exact label of every pixel.

>>> from roadseg.synth import Drive, random_scene
>>> image_bgr, labels = Drive(seed=0).render(0)    # (360, 480, 3), (360, 480) uint8
"""

from roadseg.synth.drive import Drive, random_scene

__all__ = ["Drive", "random_scene"]
