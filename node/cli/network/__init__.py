"""A network of real processes on this machine: starts them, sets up L1, trades, watches, and reports."""
