"""What can go wrong for a trader, as a tree of exceptions with the names that ccxt's users know.

Every error of a server carries a stable ``code`` and ``kind``; the class raised is the kind's own, or the nearest one
above it in the server's tree. ``reason`` is the rules' status where the rules refused.
"""

from __future__ import annotations

from typing import Any

from node.rpc.errors import ErrorKind, kind_of, kind_of_status
from node.stf.types import Status
from node.transport import RpcError


class AnchorlineError(Exception):
    """Root of the tree. ``data`` is what the server said beside the message."""

    def __init__(self, message: str, *, kind: str = "", code: int = 0, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.code = code
        self.data = data or {}

    @property
    def reason(self) -> str:
        """The status of the rules, or empty."""
        return str(self.data.get("reason", ""))


class ExchangeError(AnchorlineError):
    """The request was understood and refused; sending it again unchanged will not help."""


class BadRequest(ExchangeError):
    """A parameter is wrong; ``data["param"]`` says which."""


class NotSupported(ExchangeError): ...


class NotFound(BadRequest): ...


class BadSymbol(BadRequest): ...


class AuthenticationError(ExchangeError): ...


class BadSignature(AuthenticationError):
    """The signature is not the claimed signer's; ``data["expected_digest"]`` is what had to be signed."""


class PermissionDenied(AuthenticationError): ...


class AccountNotFound(AuthenticationError): ...


class InvalidNonce(ExchangeError): ...


class InsufficientFunds(ExchangeError): ...


class InsufficientMargin(InsufficientFunds): ...


class InvalidOrder(ExchangeError): ...


class OrderNotFound(InvalidOrder): ...


class OrderImmediatelyFillable(InvalidOrder): ...


class OrderNotFillable(InvalidOrder): ...


class OrderLimitReached(InvalidOrder): ...


class PriceOutOfBand(InvalidOrder): ...


class OperationRejected(ExchangeError): ...


class MarketBusy(OperationRejected):
    """A large order is still being matched; try again in a moment."""


class MarketClosed(OperationRejected): ...


class WithdrawalPaid(OperationRejected):
    """L1 has paid this withdrawal, and the state has forgotten it: nothing is left to claim."""


class OperationFailed(AnchorlineError):
    """The same call may succeed later."""


class ExchangeNotAvailable(OperationFailed): ...


class ConnectionLost(ExchangeNotAvailable):
    """The node cannot be reached, or did not answer in time: connect again."""


class RateLimitExceeded(OperationFailed): ...


class RequestTimeout(OperationFailed): ...


class BrokenPromise(AnchorlineError):
    """The sequencer's promise does not say what its answer says: keep the answer, it may be evidence."""


_CLASSES: dict[str, type[AnchorlineError]] = {
    cls.__name__: cls
    for cls in (
        ExchangeError, BadRequest, NotSupported, NotFound, BadSymbol, AuthenticationError, BadSignature,
        PermissionDenied, AccountNotFound, InvalidNonce, InsufficientFunds, InsufficientMargin, InvalidOrder,
        OrderNotFound, OrderImmediatelyFillable, OrderNotFillable, OrderLimitReached, PriceOutOfBand,
        OperationRejected, MarketBusy, MarketClosed, WithdrawalPaid, OperationFailed, ExchangeNotAvailable,
        RateLimitExceeded, RequestTimeout,
    )
}


def class_of(kind: ErrorKind | None) -> type[AnchorlineError]:
    """The exception for a kind: its own class, or the nearest above it."""
    for name in kind.ancestry if kind is not None else ():
        if name in _CLASSES:
            return _CLASSES[name]
    return AnchorlineError


def from_rpc(error: RpcError) -> AnchorlineError:
    """A server's error as an exception of this tree."""
    kind = kind_of(error)
    data = error.data if isinstance(error.data, dict) else {}
    return class_of(kind)(error.message, kind=kind.name if kind else "", code=error.code, data=data)


def from_status(name: str, what: str) -> AnchorlineError:
    """The exception for an action that was included and refused by the rules with status ``name``."""
    kind = kind_of_status(Status[name])
    return class_of(kind)(f"{what}: {name}", kind=kind.name, code=kind.code, data={"reason": name})
