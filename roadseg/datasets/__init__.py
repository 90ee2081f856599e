"""Labelled frames: folders in three layouts, labelled clips, and frames picked from any of them."""
