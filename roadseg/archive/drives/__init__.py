"""Drives: which clips a recorder cut out of one.

names.py    what the name of a clip says: camera, begin, chapter
find.py     clips -> drives, with the gaps between their clips
join.py     the same for the clips of an archive
"""
