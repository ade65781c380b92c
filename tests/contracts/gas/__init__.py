"""What every call costs: `table.measure()` gives the rows, contracts/README.md holds them."""
