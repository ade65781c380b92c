"""Keys of L1 accounts. ``Signer`` is what the node passes around; the key itself stays inside its implementation.

Only the command line opens keys. They come from an Ethereum keystore file (password in an environment variable) or, for
development, from an environment variable with the key in hexadecimal; never from arguments or configuration files. No
representation, message or log line ever contains one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from coincurve import PrivateKey

from node.errors import Critical


class Signer(Protocol):
    """Who signs for one L1 address."""

    @property
    def address(self) -> bytes:
        """20 bytes."""
        ...

    def sign_transaction(self, fields: dict[str, Any]) -> bytes:
        """Raw signed bytes of an EIP-1559 transaction given in web3's field names."""
        ...

    def sign_hash(self, digest: bytes) -> bytes:
        """65 bytes r ‖ s ‖ v (v = 0 or 1) over a 32-byte digest."""
        ...


class LocalSigner:
    """A ``Signer`` with the key in this process's memory."""

    __slots__ = ("__key", "address")

    def __init__(self, key: bytes) -> None:
        """Raises Critical if the 32 bytes are no secp256k1 key (the message does not contain them)."""
        from eth_keys.datatypes import PrivateKey as EthKey  # imports a backend: keep it off the path of readers

        try:
            self.__key = PrivateKey(key)
            self.address: bytes = EthKey(key).public_key.to_canonical_address()
        except Exception:
            raise Critical("the L1 key is not a valid secp256k1 private key (32 bytes, not zero)") from None

    def __repr__(self) -> str:
        return f"LocalSigner(0x{self.address.hex()})"

    def __reduce__(self) -> Any:
        raise TypeError("a signer is not to be pickled: it holds a key")

    def sign_transaction(self, fields: dict[str, Any]) -> bytes:
        """See ``Signer.sign_transaction``. Deterministic (RFC 6979): the same fields give the same bytes."""
        from eth_account import Account

        return bytes(Account.sign_transaction(fields, self.__key.secret).raw_transaction)

    def sign_hash(self, digest: bytes) -> bytes:
        """See ``Signer.sign_hash``."""
        if len(digest) != 32:
            raise ValueError(f"a digest has 32 bytes, this one {len(digest)}")
        return self.__key.sign_recoverable(digest, hasher=None)


def open_keystore(path: Path, password: str) -> LocalSigner:
    """Decrypt an Ethereum keystore file (JSON, version 3). Raises Critical without revealing the password."""
    from eth_account import Account

    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise Critical(f"keystore {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise Critical(f"keystore {path} is not JSON; expected an Ethereum keystore file") from None
    try:
        return LocalSigner(bytes(Account.decrypt(content, password)))
    except (ValueError, KeyError, TypeError, NotImplementedError):
        raise Critical(f"keystore {path} does not open with the given password") from None


def signer_from_environment(environment: Mapping[str, str], key_name: str, password_name: str,
                            keystore: Path | None) -> LocalSigner:
    """The signer that a role is configured with: its keystore and password variable, else its key variable.

    Raises Critical naming the variable to set.
    """
    if keystore is not None:
        password = environment.get(password_name)
        if password is None:
            raise Critical(f"set {password_name} to the password of keystore {keystore}")
        return open_keystore(keystore, password)
    text = environment.get(key_name, "")
    if not text:
        raise Critical(f"no L1 key: set a keystore file (and {password_name}), or {key_name} to a hexadecimal key")
    try:
        return LocalSigner(bytes.fromhex(text.strip().removeprefix("0x")))
    except ValueError:
        raise Critical(f"{key_name} is not hexadecimal") from None
