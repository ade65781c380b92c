"""Every error an RPC method may answer: a stable code, a stable `kind`, and where the kind stands in the tree.

The kinds are the ones that ccxt's users know, so that a client can map them without a table of its own. An answer is
`{code, message, data: {kind, reason?, param?, …}}`: `kind` is for programs, `message` for people and may change,
`param` is the path of the parameter at fault. Codes are never reused or renumbered: append only.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

from node.rpc.statuses import sentence
from node.stf.types import Status
from node.transport import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    LIMIT_EXCEEDED,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    TIMED_OUT,
    RpcError,
)

__all__ = ["ErrorKind", "RpcError", "fail", "fail_status", "kind_of", "kind_of_status"]


class ErrorKind(Enum):
    """Value = (code, parent's name or "")."""

    # JSON-RPC's own, and the transport's
    ParseError = (PARSE_ERROR, "BadRequest")
    InvalidRequest = (INVALID_REQUEST, "BadRequest")
    MethodNotFound = (METHOD_NOT_FOUND, "NotSupported")
    InvalidParams = (INVALID_PARAMS, "BadRequest")
    InternalError = (INTERNAL_ERROR, "OperationFailed")
    LimitExceeded = (LIMIT_EXCEEDED, "BadRequest")
    RequestTimeout = (TIMED_OUT, "OperationFailed")
    # a call to a contract that reverted, as Ethereum nodes answer it
    ExecutionReverted = (3, "OperationRejected")

    ExchangeError = (10_000, "")
    BadRequest = (10_001, "ExchangeError")
    NotSupported = (10_002, "ExchangeError")
    OperationRejected = (10_003, "ExchangeError")
    NotFound = (10_004, "BadRequest")
    BadSymbol = (10_005, "BadRequest")
    BadTransaction = (10_006, "BadRequest")

    AuthenticationError = (11_000, "ExchangeError")
    BadSignature = (11_001, "AuthenticationError")
    PermissionDenied = (11_002, "AuthenticationError")
    AccountNotFound = (11_003, "AuthenticationError")
    KeyExpired = (11_004, "AuthenticationError")

    InvalidNonce = (12_000, "ExchangeError")
    NonceUsed = (12_001, "InvalidNonce")
    NonceTooOld = (12_002, "InvalidNonce")
    NonceTooNew = (12_003, "InvalidNonce")
    SignatureExpired = (12_004, "InvalidNonce")

    InsufficientFunds = (13_000, "ExchangeError")
    InsufficientMargin = (13_001, "InsufficientFunds")
    WithdrawalLimited = (13_002, "InsufficientFunds")

    InvalidOrder = (14_000, "ExchangeError")
    OrderNotFound = (14_001, "InvalidOrder")
    DuplicateOrderId = (14_002, "InvalidOrder")
    OrderImmediatelyFillable = (14_003, "InvalidOrder")
    OrderNotFillable = (14_004, "InvalidOrder")
    OrderTooDeep = (14_005, "InvalidOrder")
    OrderLimitReached = (14_006, "InvalidOrder")
    PriceOutOfBand = (14_007, "InvalidOrder")
    OrderTooSmall = (14_008, "InvalidOrder")
    PositionLimitReached = (14_009, "InvalidOrder")
    ReduceOnlyViolated = (14_010, "InvalidOrder")
    SelfTrade = (14_011, "InvalidOrder")

    MarketBusy = (15_000, "OperationRejected")
    MarketClosed = (15_001, "OperationRejected")
    MarketReduceOnly = (15_002, "OperationRejected")
    NotLiquidatable = (15_003, "OperationRejected")
    WithdrawalPaid = (15_004, "OperationRejected")

    OperationFailed = (16_000, "")
    ExchangeNotAvailable = (16_001, "OperationFailed")
    OnMaintenance = (16_002, "ExchangeNotAvailable")
    Syncing = (16_003, "ExchangeNotAvailable")
    AnchorLag = (16_004, "ExchangeNotAvailable")
    NotSequencer = (16_005, "ExchangeNotAvailable")
    RateLimitExceeded = (16_006, "OperationFailed")

    @property
    def code(self) -> int:
        return self.value[0]

    @property
    def parent(self) -> ErrorKind | None:
        return ErrorKind[self.value[1]] if self.value[1] else None

    @property
    def ancestry(self) -> tuple[str, ...]:
        """This kind and the ones above it, nearest first; the tree is a few levels deep."""
        names = [self.name]
        above = self.parent
        while above is not None:
            names.append(above.name)
            above = above.parent
        return tuple(names)

    @property
    def temporary(self) -> bool:
        """True when the same call may succeed later."""
        return "OperationFailed" in self.ancestry or self is ErrorKind.MarketBusy


_BY_CODE: Final = {kind.code: kind for kind in ErrorKind}


def fail(kind: ErrorKind, message: str, *, param: str = "", reason: str = "", **details: Any) -> RpcError:
    """The error to raise: `message` says what is wrong and what to do, `reason` names a status for programs."""
    data: dict[str, Any] = {"kind": kind.name}
    if param:
        data["param"] = param
    if reason:
        data["reason"] = reason
    data.update(details)
    return RpcError(kind.code, message, data)


def kind_of(error: RpcError) -> ErrorKind | None:
    """The kind of an error from a server like ours; None when it is somebody else's."""
    name = error.data.get("kind") if isinstance(error.data, dict) else None
    if isinstance(name, str) and name in ErrorKind.__members__:
        return ErrorKind[name]
    return _BY_CODE.get(error.code)


#: what the rules answer -> what a client sees; statuses that mean success are absent
_KIND_BY_STATUS: Final[dict[str, ErrorKind]] = {
    "BAD_SIGNATURE": ErrorKind.BadSignature,
    "NO_ACCOUNT": ErrorKind.AccountNotFound,
    "NO_KEY": ErrorKind.BadSignature,
    "KEY_EXPIRED": ErrorKind.KeyExpired,
    "EXPIRED": ErrorKind.SignatureExpired,
    "EXPIRY_TOO_FAR": ErrorKind.SignatureExpired,
    "NONCE_USED": ErrorKind.NonceUsed,
    "NONCE_TOO_OLD": ErrorKind.NonceTooOld,
    "NONCE_TOO_NEW": ErrorKind.NonceTooNew,
    "NO_MARKET": ErrorKind.BadSymbol,
    "MARKET_HALTED": ErrorKind.MarketClosed,
    "MARKET_REDUCE_ONLY": ErrorKind.MarketReduceOnly,
    "MARKET_BUSY": ErrorKind.MarketBusy,
    "STALE_PRICE": ErrorKind.MarketReduceOnly,
    "BAD_PRICE": ErrorKind.InvalidOrder,
    "PRICE_BAND": ErrorKind.PriceOutOfBand,
    "BAD_LOTS": ErrorKind.InvalidOrder,
    "MIN_NOTIONAL": ErrorKind.OrderTooSmall,
    "TOO_LARGE": ErrorKind.PositionLimitReached,
    "OI_CAP": ErrorKind.PositionLimitReached,
    "TOO_MANY_ORDERS": ErrorKind.OrderLimitReached,
    "TOO_MANY_POSITIONS": ErrorKind.PositionLimitReached,
    "INSUFFICIENT_MARGIN": ErrorKind.InsufficientMargin,
    "WOULD_CROSS": ErrorKind.OrderImmediatelyFillable,
    "ORDER_NOT_FOUND": ErrorKind.OrderNotFound,
    "NOT_YOUR_ORDER": ErrorKind.PermissionDenied,
    "ORDER_EXPIRED": ErrorKind.InvalidOrder,
    "BAD_SLOT": ErrorKind.BadTransaction,
    "BAD_RECIPIENT": ErrorKind.BadTransaction,
    "BAD_AMOUNT": ErrorKind.BadTransaction,
    "INSUFFICIENT_FREE": ErrorKind.InsufficientFunds,
    "NO_PUBLISHER": ErrorKind.PermissionDenied,
    "BAD_TIME": ErrorKind.BadTransaction,
    "NOT_PENDING": ErrorKind.OperationRejected,
    "NO_POSITION": ErrorKind.NotLiquidatable,
    "NOT_LIQUIDATABLE": ErrorKind.NotLiquidatable,
    "NO_LIQUIDITY": ErrorKind.OrderNotFillable,
    "NO_MESSAGE": ErrorKind.OperationRejected,
    "BAD_MESSAGE": ErrorKind.BadTransaction,
    "FORCED_INVALID": ErrorKind.BadTransaction,
    "REDUCE_ONLY_SIZE": ErrorKind.ReduceOnlyViolated,
    "FOK_UNFILLED": ErrorKind.OrderNotFillable,
    "FOK_TOO_DEEP": ErrorKind.OrderTooDeep,
    "SWITCH_FIRED": ErrorKind.OperationRejected,
    "TRIGGER_NOT_REACHED": ErrorKind.OperationRejected,
    "NOTHING_TO_SWEEP": ErrorKind.OperationRejected,
    "MARKET_EXPIRED": ErrorKind.MarketClosed,
    "NOT_SETTLING": ErrorKind.OperationRejected,
    "OUTFLOW_LIMIT": ErrorKind.WithdrawalLimited,
    "REDUCED_ENOUGH": ErrorKind.NotLiquidatable,
    "SELF_TRADE": ErrorKind.SelfTrade,
}


def kind_of_status(status: Status) -> ErrorKind:
    """The kind of a status of the rules that is not a success."""
    return _KIND_BY_STATUS.get(status.name, ErrorKind.OperationRejected)


def fail_status(status: Status, message: str = "", **details: Any) -> RpcError:
    """The error for a transaction that the rules refuse; `reason` is the status's name, which the message explains."""
    return fail(kind_of_status(status), message or sentence(status.name), reason=status.name, **details)
