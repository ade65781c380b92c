"""The three severities of failure, named after what the caller does about them.

Temporary: wait and try again, nothing is lost. Reset: what was derived may no longer be true; go back to a point
that is still known to hold and derive again. Critical: going on would do harm; stop and say so. A failure that is none
of these is a bug and propagates as it is.
"""

from __future__ import annotations


class Temporary(Exception):
    """Try again with backoff: the network, a node that is busy or behind, a fee market out of reach."""


class Reset(Exception):
    """Derive again from a safe point: an L1 reorganisation, or an answer that contradicts what was read before."""


class Critical(Exception):
    """Stop and say so: a wrong configuration, a broken invariant, a chain that is not the one we were told of."""
