"""Recorded order flow of real venues: readers, a plain order book beside the chain's, a plan of orders, comparisons.

``venues`` reads three formats into one stream of ``events``; ``plan`` turns events into signed-order actions, with the
fills that a price-time book (``ladder``) says they must have; ``player`` sends them and checks that the chain answers
with exactly these fills; ``compare`` sets the best bid and offer beside the venue's own. Integers only: prices and
amounts are in 10**-8 units until a plan rounds them to ticks and lots.
"""
