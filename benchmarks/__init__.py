"""Measurements of roadseg against what people would use instead; JSON and tables out."""
