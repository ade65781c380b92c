"""Leaving without any operator: what Exodus wants to see of the last state, from a verifier's disk alone.

The equity is the rules' own (margin.health) on the rules' own state, and the witness holds exactly the leaves that they
touched for it: the ``G`` leaf, the account, and the boards of its markets.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.stf import margin, state, witness
from node.stf.engine import Engine
from node.stf.trie import TrieView


@dataclass(frozen=True, slots=True)
class Registration:
    """What an account can register: ``equity`` in micro-USD for ``owner`` (20 bytes), and the witness that shows it."""

    account: int
    owner: bytes
    equity: int
    witness: bytes


def registration(view: TrieView, account: int) -> Registration:
    """The account's registration under the state ``view``. Raises LookupError if there is no such account."""
    engine = Engine(view, bytes(32), lambda _number: None, strict=True)
    engine.begin_chunk()
    if not state.account_exists(account):
        raise LookupError(f"there is no account {account}: ids go from 1 to {engine.globals.next_account - 1}")
    equity = margin.health(account).equity
    owner = state.get_key(account, 0).address
    touched = engine.end_chunk().touched
    shown = witness.build(view, touched)
    return Registration(account, owner.to_bytes(20, "big"), equity, witness.encode(shown))


def accounts_of(view: TrieView, owner: bytes) -> list[int]:
    """Ids of the accounts that ``owner`` (20 bytes) owns; looks at every account."""
    engine = Engine(view, bytes(32), lambda _number: None, strict=True)
    engine.begin_chunk()
    wanted = int.from_bytes(owner, "big")
    return [account for account in range(1, engine.globals.next_account)
            if state.get_key(account, 0).address == wanted]
