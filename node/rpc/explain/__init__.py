"""``al_explain``: why a transaction did what it did: formulas with numbers, and proofs that a small script checks."""
