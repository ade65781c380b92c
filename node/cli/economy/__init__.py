"""What attacks on a deployment bring and cost: formulas with sources, thresholds, a Monte-Carlo check, a picture.

Floats throughout: nothing here is a rule of the chain. Money is USD, times are seconds, shares are fractions of one.
"""
