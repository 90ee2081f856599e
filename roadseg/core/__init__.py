"""What every other room stands on: types, errors, labels, geometry, files, the machine."""
