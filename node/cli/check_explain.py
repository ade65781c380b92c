"""Checks an explanation (`anchorline explain --json`) without trusting whoever gave it. Needs nothing but keccak.

    python check_explain.py explanation.json HEADER_HASH     HEADER_HASH: Rollup.header_hash(batch), as L1 has it

Shows that the chunk and the roots before and after it are in the batch that L1 knows by this hash, that the leaves at
its start and end are under those roots, and that every account's equity and maintenance margin, before and after every
step, are what its leaves make them. States inside a chunk have no root: those it names; executing the chunk gives them.
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from math import isqrt
from typing import Any

from eth_hash.auto import keccak

M64, PPM = (1 << 64) - 1, 10**6
GLOBAL_KEY = "0x47" + "00" * 31


class CheckFailed(Exception): ...


def need(holds: bool, what: str) -> None:
    if not holds:
        raise CheckFailed(what)


def raw(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def words(value: bytes) -> list[int]:
    return [int.from_bytes(value[at : at + 32], "big") for at in range(0, len(value), 32)]


def signed(word: int, shift: int) -> int:
    value = word >> shift & M64
    return value - (1 << 64) if value >> 63 else value


def fold_leaf(leaf: dict[str, Any]) -> bytes:
    """The root of a crit-bit trie with this leaf below these siblings."""
    key, bits, siblings = raw(leaf["key"]), raw(leaf["bits"]), [raw(s) for s in leaf["siblings"]]
    need(len(bits) == len(siblings) and all(a > b for a, b in pairwise(bits)), "a path is malformed")
    root = keccak(key + keccak(raw(leaf["value"])))
    for bit, sibling in zip(bits, siblings, strict=True):
        right = int.from_bytes(key, "big") >> (255 - bit) & 1
        root = keccak(bytes((bit,)) + (sibling + root if right else root + sibling))
    return root


def fold_list(place: dict[str, Any], count: int) -> bytes:
    """The root of a Merkle list of ``count`` chunks; an odd last node moves up."""
    index, siblings = place["index"], [raw(s) for s in place["proof"]]
    node = keccak(index.to_bytes(32, "big") + raw(place["chunk_hash"]) + raw(place["post_root"]))
    while count > 1:
        if index ^ 1 < count:
            need(bool(siblings), "a list proof is too short")
            sibling = siblings.pop(0)
            node = keccak(sibling + node if index & 1 else node + sibling)
        index, count = index // 2, (count + 1) // 2
    need(not siblings, "a list proof is too long")
    return node


def check_batch(evidence: dict[str, Any], header_hash: bytes) -> int:
    """The batch that L1 knows by a hash has the chunk between these roots; the batch's number."""
    need(evidence["batch"] is not None, "the chunk is not on L1 yet: ask again later")
    batch, chunk = evidence["batch"], evidence["batch"]["chunk"]
    header, parent = raw(batch["header"]), raw(batch["parent"])
    need(keccak(header) == header_hash, "the header is not the one that L1 has")
    fields = [header[at : at + 32] for at in range(0, len(header), 32)]
    count = int.from_bytes(fields[5], "big")
    need(keccak(raw(evidence["chunk"])) == raw(chunk["chunk_hash"]), "the chunk has other bytes")
    need(chunk["post_root"] == evidence["post_root"], "the chunk has another post-root")
    need(chunk["index"] < count and fold_list(chunk, count) == fields[6], "the chunk is not in the batch")
    if chunk["index"] == 0:
        need(keccak(parent) == fields[1], "the parent is not the header's")
        pre_root = parent[7 * 32 : 8 * 32]
    else:
        before = batch["previous"]
        need(before["index"] == chunk["index"] - 1 and fold_list(before, count) == fields[6], "no such chunk before it")
        pre_root = raw(before["post_root"])
    need(pre_root == raw(evidence["pre_root"]), "the chunk has another pre-root")
    return int.from_bytes(fields[0], "big")


def margin(account: bytes, leaves: dict[str, str]) -> tuple[int, int]:
    """Equity and maintenance margin of an account leaf, micro-USD, with the boards and the time of a state's leaves."""
    boards = {raw(key)[1]: words(raw(value)) for key, value in leaves.items() if raw(key)[:1] == b"B"}
    now = words(raw(leaves[GLOBAL_KEY]))[0] >> 192
    w = words(account)
    equity, maintenance = signed(w[0], 168), 0
    at = 1 + 2 * (w[0] >> 16 & 0xFF)
    for _ in range(w[0] >> 8 & 0xFF):
        size, cost, funding, loss = (signed(w[at], shift) for shift in (192, 128, 64, 0))
        market = w[at + 2] >> 16 & 0xFFFF
        a, b, c = boards[market // 8][3 * (market % 8) : 3 * (market % 8) + 3]
        notional, impact = abs(size) * (a >> 216) * (a >> 136 & 0xFFFFFFFF), b & M64
        mark_time = a >> 168 & (1 << 48) - 1
        index = signed(b, 128 if size > 0 else 64) if size else 0
        equity += (notional if size > 0 else -notional) - cost - size * (signed(b, 192) - funding)
        equity -= abs(size) * (index - loss)
        if size and now > mark_time + (a & 0xFFFFFFFF):  # a stale price is feared to be worse
            risk, cap = c >> 192, c >> 168 & 0xFFFFFF
            cut = min(cap, -(-risk * isqrt((now - mark_time) * 1000) // 10**8))
            equity -= -(-notional * cut // PPM)
        base, cap = a >> 104 & 0xFFFFFF, a >> 80 & 0xFFFFFF
        rate = min(PPM, base if impact == 0 else min(cap, base + notional // impact))
        maintenance += -(-notional * rate // PPM)
        at += 3
    return equity, maintenance


def check(explanation: dict[str, Any], header_hash: bytes) -> list[str]:
    """What was shown, line by line. Raises CheckFailed."""
    evidence = explanation["evidence"]
    number = check_batch(evidence, header_hash)
    lines = [f"batch {number} on L1 has the chunk, from root {evidence['pre_root']} to {evidence['post_root']}"]
    proved: dict[str, set[tuple[str, str]]] = {}
    for moment, name, root in (("before", "chunk_start", "pre_root"), ("after", "chunk_end", "post_root")):
        proved[moment] = {(leaf["key"], leaf["value"]) for leaf in evidence[name]}
        for leaf in evidence[name]:
            need(fold_leaf(leaf) == raw(evidence[root]), f"leaf {leaf['key']} is not under the {root}")
        lines.append(f"{len(evidence[name])} leaves are under the {root}")
    for step in explanation["steps"]:
        for item, moment in [(item, m) for item in step["accounts"] for m in ("before", "after") if item[m]]:
            leaf, leaves = item["leaf_" + moment], evidence[moment]
            found = margin(raw(leaf), leaves)
            text = f"account {item['account']} {moment} {step['what']!r}: equity {found[0]}, maintenance {found[1]}"
            need(found == (item[moment]["equity"], item[moment]["maintenance"]), f"{text}, not what is shown")
            used = {("0x41" + item["account"].to_bytes(4, "big").hex() + "00" * 27, leaf)}
            used |= {each for each in leaves.items() if each[0][:4] == "0x42"}
            ends = f"proven, as the chunk {'began' if moment == 'before' else 'ended'}"
            lines.append(f"{text} ({ends if used <= proved[moment] else 'inside the chunk: execute it to see'})")
    return lines


if __name__ == "__main__":
    try:
        with open(sys.argv[1], "rb") as source:
            print("\n".join(check(json.load(source), raw(sys.argv[2]))))
    except (CheckFailed, KeyError, IndexError, ValueError, TypeError) as error:
        sys.exit(f"NOT PROVEN: {error}" if isinstance(error, CheckFailed) else f"usage or format: {error!r}\n{__doc__}")
