"""INT8, measured: scales for each activation, networks for OpenVINO, and what INT8 costs."""
