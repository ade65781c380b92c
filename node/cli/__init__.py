"""The command line, and the composition root: the one module that may import sequencer and prover."""
