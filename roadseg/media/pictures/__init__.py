"""FFmpeg's pictures as players show them: upright, in square pixels, right colours, whole lines."""
