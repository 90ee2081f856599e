"""Where a recording was made, and how far it went.

track.py      fixes -> metres
sidecar.py    a GPX or NMEA file of the clip's name -> fixes
recorded.py   the track inside of a clip -> fixes
clip.py       either, for a clip
"""
