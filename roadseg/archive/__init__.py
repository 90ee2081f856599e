"""Archives: the results of many clips in one folder, and a ledger that says what became of each."""
