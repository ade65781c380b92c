"""Writes the catalogue with what every attack costs into tests/adversary/README.md, from a run on anvil:

    python -m tests.adversary.write_catalogue

Words come from the entries, gas from receipts. ``test_catalogue.py`` holds the words to the catalogue.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import trio

from node import log
from node.cli.villain.catalogue import Attack, Outcome, catalogue, play
from node.cli.villain.report import line, markdown
from tests.adversary.ground import arena, defended

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- catalogue: written by tests/adversary/write_catalogue.py -->\n", "<!-- end of the catalogue -->\n"


def written() -> str:
    """The catalogue as the README has it."""
    text = README.read_text()
    return text[text.index(BEGIN) + len(BEGIN) : text.index(END)]


def write(attacks: Mapping[str, Attack], outcomes: Mapping[str, Outcome]) -> None:
    """Replace it."""
    text = README.read_text()
    table = markdown(attacks.values(), outcomes)
    README.write_text(text[: text.index(BEGIN) + len(BEGIN)] + "\n" + table + "\n" + text[text.index(END) :])


def main() -> int:
    """Play everything; 1 if anything did not hold, and then nothing is written."""
    log.configure("critical")
    attacks = catalogue()
    outcomes: dict[str, Outcome] = {}
    with arena("anvil") as ground:
        async def one(attack: Attack, folder: Path) -> Outcome:
            async with defended(ground, folder) as (field, _tower):
                return await play(attack, field)

        for name, attack in attacks.items():
            with tempfile.TemporaryDirectory() as folder:
                outcomes[name] = trio.run(one, attack, Path(folder))
            print(line(outcomes[name]), flush=True)
    if not all(outcome.held for outcome in outcomes.values()):
        return 1
    write(attacks, outcomes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
