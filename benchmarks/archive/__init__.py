"""Measurements of archives: kills, workers, memory."""
