"""Recordings: a file for every few minutes of each camera, for as long as the disk has room.

    station --Result--> output --> segments --> NAME-2026-11-27T08-15-00.mp4

A file that is being written is hidden and plays up to its last second whatever happens; it gets its
name when it is finished. What a killed process left hidden gets its name when the next one starts.
"""
