"""Accuracy: a backend's scores on a data set, and the report."""
