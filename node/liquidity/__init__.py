"""A liquidity provider: pays withdrawals before their window is over, for a fee, after checking them itself."""
