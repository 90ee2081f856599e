"""Sound of the source in the file that is written: read, kept in step with the picture, mended."""
