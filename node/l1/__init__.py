"""Everything that talks to L1: client, heads, transactions, and the embedded development chain."""
