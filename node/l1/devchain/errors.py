"""Errors that the embedded L1 answers with: JSON-RPC code, message in geth's words, optional data."""

from __future__ import annotations

INVALID_PARAMS = -32_602
METHOD_NOT_FOUND = -32_601
SERVER_ERROR = -32_000  # geth: everything that a transaction or a lookup can do wrong
REVERTED = 3  # geth: execution reverted, data = revert bytes


class L1RpcError(Exception):
    """A refusal to be sent to the caller as ``{code, message, data}``."""

    def __init__(self, message: str, code: int = SERVER_ERROR, data: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.data = data


def bad_params(message: str) -> L1RpcError:
    """Code -32602: the request itself is malformed; ``message`` names the parameter."""
    return L1RpcError(message, INVALID_PARAMS)
