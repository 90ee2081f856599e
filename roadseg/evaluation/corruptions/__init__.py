"""Corrupted frames, after Hendrycks and Dietterich 2019, "Benchmarking neural network robustness".

Fifteen kinds in four families, at severities 1 to 5 with the paper's own strengths. Pictures are
(H, W, 3) uint8 BGR going in and coming out; frost is drawn here where the paper pastes photographs
of it.
"""
