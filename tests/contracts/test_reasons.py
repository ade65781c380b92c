"""Every reason that a contract can revert with is explained in contracts/README.md, by its first word."""

from __future__ import annotations

import re

from contracts import CONTRACTS_DIR

_REASON = re.compile(r'(?:, |raise )"([A-Z][A-Z_0-9]+)(?::|")')


def test_every_reason_is_documented() -> None:
    readme = (CONTRACTS_DIR / "README.md").read_text()
    explained = set(re.findall(r"`([A-Z][A-Z_0-9]+)`", readme))
    sources = {path.name: path.read_text() for path in sorted(CONTRACTS_DIR.glob("*.vy"))}
    used = {reason: name for name, text in sources.items() for reason in _REASON.findall(text)}
    assert len(used) > 80
    missing = {reason: name for reason, name in used.items() if reason not in explained}
    assert not missing, f"explain in contracts/README.md: {missing}"
