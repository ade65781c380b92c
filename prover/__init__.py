"""The accuser: compares posted roots with its own, and proves fraud."""
