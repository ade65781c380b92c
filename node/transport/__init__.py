"""JSON-RPC 2.0 over HTTP/1.1 and WebSocket on one port, on raw trio streams. Knows nothing of the application.

    async def dispatch(method: str, params: msgspec.Raw, connection: Connection) -> Any: ...   # raises RpcError
    bound = await nursery.start(partial(serve, "127.0.0.1", 0, dispatch, limits=Limits(), http_routes={...}))
    bound.http_url, bound.ws_url, bound.port

`params` is raw JSON (`bytes(params)`, empty when absent); the result is anything msgspec encodes (dicts, lists, str,
int up to 64 bits, msgspec Structs, msgspec.Raw for JSON made before). A dispatch object may also have
`start(method, params, connection)`, called first and in the order of arrival, that returns the result at once, a
`Deferred` to be completed later without a task of its own, or `SLOW` to be called as a coroutine.

Every resource a client can demand is bounded by `Limits`; whoever stalls is evicted; cancellation is shutdown.
"""

from node.transport.server import Server, serve
from node.transport.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    LIMIT_EXCEEDED,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    SLOW,
    TIMED_OUT,
    Bound,
    Connection,
    Deferred,
    Dispatch,
    FastDispatch,
    HttpResponse,
    HttpRoutes,
    Limits,
    RpcError,
)

__all__ = [
    "INTERNAL_ERROR", "INVALID_PARAMS", "INVALID_REQUEST", "LIMIT_EXCEEDED", "METHOD_NOT_FOUND", "PARSE_ERROR", "SLOW",
    "TIMED_OUT", "Bound", "Connection", "Deferred", "Dispatch", "FastDispatch", "HttpResponse", "HttpRoutes", "Limits",
    "RpcError", "Server", "serve",
]
