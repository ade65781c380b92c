"""The writer: orders, executes and promises transactions, and anchors batches on L1."""
