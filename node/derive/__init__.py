"""From L1 logs to batches, to blocks, to replayed state."""
