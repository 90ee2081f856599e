"""Other networks for real time, timed beside ours."""
