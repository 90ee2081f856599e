"""What only those use who make roadseg: release weights, write the figures that follow."""
