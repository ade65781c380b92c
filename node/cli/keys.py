"""Where the command line's own keys come from: a keystore file, or the environment; never argv or a file of settings.

    ANCHORLINE_KEYSTORE and ANCHORLINE_PASSWORD   an Ethereum keystore file and its password
    ANCHORLINE_KEY                                a key in hexadecimal, for development
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from node.cli.output import UserError
from node.l1.keys import LocalSigner, signer_from_environment

KEY: Final = "ANCHORLINE_KEY"
PASSWORD: Final = "ANCHORLINE_PASSWORD"
KEYSTORE: Final = "ANCHORLINE_KEYSTORE"


def user_signer() -> LocalSigner:
    """The key of whoever runs a client command. Raises UserError, Critical naming the variable to set."""
    keystore = os.environ.get(KEYSTORE)
    if not keystore and not os.environ.get(KEY):
        raise UserError(f"no key: set {KEYSTORE} to a keystore file and {PASSWORD} to its password, or {KEY} to a "
                        "hexadecimal key")
    return signer_from_environment(os.environ, KEY, PASSWORD, Path(keystore) if keystore else None)


def role_signer(role: str, keystore: Path | None) -> LocalSigner:
    """A role's key."""
    from node.config import KEY_VARIABLES

    key_name, password_name = KEY_VARIABLES[role]
    return signer_from_environment(os.environ, key_name, password_name, keystore)


def parse_address(text: str, what: str) -> bytes:
    """20 bytes. Raises UserError."""
    digits = text.removeprefix("0x")
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        data = b""
    if len(data) != 20 or not any(data):
        raise UserError(f"{what}: {text!r} is no address; give 0x and 40 hex digits")
    return data
