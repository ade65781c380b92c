"""Promises that a verifier keeps for traders, checked by themselves as batches arrive.

    keep(keepsake)      admitted if a bonded operator's key signed it, for the transaction that comes with it
    watch(…)            after every derived batch, and when a deadline passes, verdicts are looked at anew
    verdict(id)         the verdict now, with calldata for PromiseCourt where something can be proven

Bounds, and why nobody can use them against others:
- only promises that bind are admitted, so filling the store takes that many transactions that an operator promised;
- an account has at most PER_ACCOUNT_MAX open ones. The transaction says whose it is, and its hash is in the promise
  (those whose bytes are not known, such as cancels by client id, share the room of one account, 0);
- when the store is full, settled ones (kept and final, void, elsewhere) go first, the oldest foremost; then the account
  that has most open ones loses its newest. A newcomer is refused only if its own account is that one;
- what could be proven (broken, late) is never given up for a newcomer;
- whether a key binds is asked of L1 once per key, and LOOKUPS_PER_S times a second at most.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import rlp
import structlog
import trio

from node.derive import evidence
from node.derive.chain import Chain
from node.derive.keepsakes import (
    Entry,
    NotKept,
    account_of,
    check_form,
    decode_keepsake,
    encode_keepsake,
    entry_of,
    name_of,
)
from node.derive.kept import Keepsake, PromiseBook, Verdict
from node.derive.promises import recover_signer
from node.storage.chain_store import Table, records, row_key

__all__ = ["PROVABLE", "STATES", "Entry", "Found", "Keeping", "NotKept"]

log = structlog.get_logger("promises")

KEPT_MAX: Final = 16_384
PER_ACCOUNT_MAX: Final = 1_024
KEYS_MAX: Final = 1_024
PROOFS_MAX: Final = 64
LOOKUPS_PER_S: Final = 4.0
LOOKUPS_BURST: Final = 16.0
YIELD_EVERY: Final = 64
PROVABLE: Final = frozenset(("broken", "late"))
STATES: Final = ("waiting", "kept", "broken", "late", "void", "elsewhere", "unbound")


@dataclass(frozen=True, slots=True)
class Found:
    """An entry with its verdict; ``proof`` is calldata for ``court``, which ``kind`` of evidence it is."""

    entry: Entry
    kind: str = ""
    proof: bytes = b""


class Keeping:
    """See the module. One task calls ``watch``; ``changed`` is told of every entry whose verdict changes."""

    def __init__(
        self, chain: Chain, book: PromiseBook, *, finalized: Callable[[], int], changed: Callable[[Entry], None],
        kept_max: int = KEPT_MAX,
    ) -> None:
        self._chain = chain
        self._book = book
        self._finalized = finalized
        self._changed = changed
        self._kept_max = kept_max
        self._entries: dict[bytes, Entry] = {}
        self._open: Counter[int] = Counter()  # entries of an account that are not settled
        self._places: dict[tuple[int, int], list[bytes]] = {}
        self._keys: OrderedDict[tuple[int, bytes], bool] = OrderedDict()
        self._proofs: OrderedDict[tuple[bytes, int], bytes] = OrderedDict()
        self._lookups, self._looked_at = LOOKUPS_BURST, 0.0
        self._upheavals = 0
        self._serial = 0
        self._load()

    def __len__(self) -> int:
        return len(self._entries)

    def counts(self) -> Counter[str]:
        """Entries by state."""
        return Counter(entry.state for entry in self._entries.values())

    def of_account(self, account: int) -> list[Entry]:
        """An account's entries, by position."""
        return sorted((e for e in self._entries.values() if e.account == account), key=lambda entry: entry.position)

    # --- taking in ----------------------------------------------------------------------------------------------------

    async def keep(self, keepsake: Keepsake) -> Entry:
        """Take a promise in, durably; the same one again changes nothing. Raises NotKept, Temporary."""
        identity = name_of(self._chain.domain, keepsake)
        known = self._known(identity, keepsake)
        if known is not None:
            return known
        account = check_form(self._chain.domain, keepsake)
        await self._check_bound(keepsake)
        known = self._known(identity, keepsake)
        if known is not None:
            return known
        if identity in self._entries:
            self._remove(self._entries[identity])
        self._make_room(account)
        self._serial += 1
        self._chain.kv.write([(row_key(Table.KEPT, identity), encode_keepsake(keepsake, self._serial))], sync=True)
        entry = entry_of(identity, keepsake, self._serial, account)
        self._add(entry)
        twin = self._twin(entry)
        if twin is not None:
            for each in (entry, twin):
                self._set(each, "broken", each.batch, each.block)
        return entry

    def _known(self, identity: bytes, keepsake: Keepsake) -> Entry | None:
        """The entry that this promise has already; none if it lacks the transaction that comes now."""
        entry = self._entries.get(identity)
        return None if entry is not None and entry.account == 0 and keepsake.data else entry

    async def _check_bound(self, keepsake: Keepsake) -> None:
        """Ask L1 once whether a bond answers for this key, in this epoch."""
        signed = keepsake.kept.signed
        key = (signed.promise.epoch, recover_signer(self._chain.domain, signed))
        if key not in self._keys:
            self._take_lookup()
            bound = await self._book.binds(keepsake)
            if not bound:
                raise NotKept("unbound", f"0x{key[1].hex()} signed, and no bond answers for it in epoch {key[0]}")
            self._keys[key] = True
            while len(self._keys) > KEYS_MAX:
                self._keys.popitem(last=False)

    def _take_lookup(self) -> None:
        now = trio.current_time()
        self._lookups = min(LOOKUPS_BURST, self._lookups + (now - self._looked_at) * LOOKUPS_PER_S)
        self._looked_at = now
        if self._lookups < 1:
            raise NotKept("busy", "too many promises by unknown keys at the moment: try again in a second")
        self._lookups -= 1

    def _make_room(self, account: int) -> None:
        """Raises NotKept if nothing may go for a promise of this account."""
        if self._open[account] >= PER_ACCOUNT_MAX:
            raise NotKept("full", f"account {account} has {PER_ACCOUNT_MAX:,} open promises here: keep more elsewhere, "
                          "or wait until some are settled")
        if len(self._entries) < self._kept_max:
            return
        settled = min((e for e in self._entries.values() if e.settled), key=lambda e: e.serial, default=None)
        victim = settled or self._newest_of_the_fullest(account)
        if victim is None:
            raise NotKept("full", f"{self._kept_max:,} promises are open here, and none can go: ask another verifier")
        self._remove(victim)

    def _newest_of_the_fullest(self, account: int) -> Entry | None:
        """What may go for an account that has fewer; what can be proven is not among it."""
        movable = [e for e in self._entries.values() if e.state not in PROVABLE and not e.settled]
        counts = Counter(entry.account for entry in movable)
        fullest, count = max(counts.items(), key=lambda item: item[1], default=(account, 0))
        if count <= counts[account] + 1:
            return None
        return max((e for e in movable if e.account == fullest), key=lambda entry: entry.serial)

    def _add(self, entry: Entry) -> None:
        self._entries[entry.id] = entry
        self._count_open(entry.account, not entry.settled)
        self._places.setdefault((entry.epoch, entry.position), []).append(entry.id)

    def _remove(self, entry: Entry) -> None:
        self._chain.kv.write([(row_key(Table.KEPT, entry.id), None)])
        del self._entries[entry.id]
        self._count_open(entry.account, -(not entry.settled))
        place = self._places[entry.epoch, entry.position]
        place.remove(entry.id)
        if not place:
            del self._places[entry.epoch, entry.position]

    def _count_open(self, account: int, change: int) -> None:
        self._open[account] += change
        if not self._open[account]:
            del self._open[account]

    def _load(self) -> None:
        """What an earlier run kept; verdicts are found anew."""
        rows = [(name, decode_keepsake(row)) for name, row in records(self._chain.kv, Table.KEPT)]
        for identity, (keepsake, serial) in sorted(rows, key=lambda row: row[1][1]):
            self._serial = serial
            self._add(entry_of(identity, keepsake, serial, account_of(keepsake.data)))

    # --- looking ------------------------------------------------------------------------------------------------------

    async def watch(self, upheavals: int) -> None:
        """Look at what may have changed. ``upheavals``: rollbacks and reorganisations so far; after one, what was found
        is looked for again. Raises Temporary: then nothing is forgotten, and it is tried again."""
        if upheavals != self._upheavals:
            self._keys.clear()
            self._proofs.clear()
            for entry in list(self._entries.values()):
                self._set(entry, "waiting", 0, 0)
            self._upheavals = upheavals
        finalized = self._finalized()
        for entry in self._entries.values():
            if not entry.final and 0 < entry.block <= finalized:
                self._count(entry, lambda each: setattr(each, "final", True))
        await self._look_around([entry for entry in self._entries.values() if entry.state in ("waiting", "late")])

    async def _look_around(self, unposted: list[Entry]) -> None:
        reached = self._chain.head.first_position + self._chain.head.tx_count
        deadlines: dict[int, int] = {}  # by epoch: promises given before this L2 time are overdue
        for number, entry in enumerate(unposted):
            if number % YIELD_EVERY == 0:
                await trio.lowlevel.checkpoint()
            if entry.epoch not in deadlines:
                deadlines[entry.epoch] = await self._book.overdue_before(entry.epoch)
            if entry.id not in self._entries:
                continue
            overdue = entry.state == "waiting" and entry.time < deadlines[entry.epoch]
            if entry.position < reached or overdue or self._twin(entry) is not None:
                await self._look(entry)

    async def _look(self, entry: Entry) -> None:
        if self._twin(entry) is not None:
            self._set(entry, "broken", entry.batch, entry.block)
            return
        try:
            verdict = await self._book.check(self._read(entry.id), prove=False)
        except LookupError:
            verdict = Verdict(entry.position, "unbound", 0)  # L1 was reorganised: nobody has sat in this epoch
        block = self._chain.block_at(entry.position) if verdict.batch else None
        if entry.id in self._entries:
            self._set(entry, verdict.state, verdict.batch, block or 0)

    def _set(self, entry: Entry, state: str, batch: int, block: int) -> None:
        if (state, batch) == (entry.state, entry.batch):
            return

        def change(each: Entry) -> None:
            each.state, each.batch, each.block = state, batch, block
            each.final = 0 < block <= self._finalized()

        self._count(entry, change)
        if state in PROVABLE:
            log.warning("promise_broken" if state == "broken" else "promise_late", position=entry.position,
                        epoch=entry.epoch, batch=batch, id=entry.id, account=entry.account,
                        what_to_do="al_promiseVerdict has the proof; `anchorline promises FILE --prove` sends it")
        self._changed(entry)

    def _count(self, entry: Entry, change: Callable[[Entry], object]) -> None:
        """Change an entry, and how many open ones its account has."""
        before = entry.settled
        change(entry)
        self._count_open(entry.account, before - entry.settled)

    async def verdict(self, identity: bytes) -> Found | None:
        """The verdict now, with the proof if there is one; None for a promise that is not kept. Raises Temporary."""
        entry = self._entries.get(identity)
        if entry is None:
            return None
        keepsake = self._read(identity)
        await self._look(entry)
        twin = self._twin(entry)
        if twin is not None:
            return Found(entry, "equivocation", evidence.equivocation(keepsake.kept, self._read(twin.id).kept))
        if entry.state == "late":
            return Found(entry, "late", evidence.late(keepsake.kept.signed))
        if entry.state != "broken":
            return Found(entry)
        proof = self._proofs.get((identity, entry.batch))
        if proof is None:
            proof = (await self._book.check(keepsake)).proof
            self._proofs[identity, entry.batch] = proof
            while len(self._proofs) > PROOFS_MAX:
                self._proofs.popitem(last=False)
        return Found(entry, "conflict", proof)

    def _twin(self, entry: Entry) -> Entry | None:
        """Another promise of the same place, to another transaction: the operator has signed both."""
        place = self._places.get((entry.epoch, entry.position), ())
        others = (self._entries[other] for other in place)
        return next((other for other in others if other.tx_hash != entry.tx_hash), None)

    def _read(self, identity: bytes) -> Keepsake:
        data = self._chain.kv.get(row_key(Table.KEPT, identity))
        assert data is not None, "entries are on disk"
        return decode_keepsake(rlp.decode(data))[0]
