"""Runtimes that turn frames into labels: one small Protocol, one module per runtime."""
