"""``al_explain``: why a transaction did what it did, in formulas with numbers, with proofs that a small script checks."""
