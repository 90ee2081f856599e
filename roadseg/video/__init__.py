"""The loop that carries frames from a source through a network to the screen and to files."""
