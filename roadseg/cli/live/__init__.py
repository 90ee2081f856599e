"""`roadseg run` with cameras that come back, several sources, or the page."""
