"""The tests, one folder for each room of `roadseg/`; what they share is in `tests/support/`."""
