"""A chosen model at work: on a video, against the clock, and on labelled frames."""
