"""Tests of the prover: villains, proofs, the watchtower."""
