"""A process that sends numbered intents of one wei each until all are confirmed. Killed and restarted by a test.

usage: python send_many.py URL JOURNAL COUNT
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from node.l1.client import L1Client
from node.l1.devchain.accounts import dev_accounts
from node.l1.journal import FileJournal
from node.l1.keys import LocalSigner
from node.l1.sender import Intent, SenderConfig, TxSender, open_sender

TARGET = b"\x77" * 20


async def main(url: str, journal_path: Path, count: int) -> None:
    client = L1Client(url)
    config = SenderConfig(confirmations=1, resubmit_s=0.3, poll_s=0.02, in_flight_max=3)
    signer, journal = LocalSigner(dev_accounts(1)[0].key), FileJournal(journal_path)
    async with open_sender(client, signer, journal, config) as sender, trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(send, sender, number)


async def send(sender: TxSender, number: int) -> None:
    await sender.send(Intent(f"payment {number}", TARGET, b"", 1))


trio.run(main, sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
