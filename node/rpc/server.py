"""Typed JSON-RPC methods: plain functions in a registry, checked parameters, self-description, metrics.

    methods = Registry("Anchorline verifier", version, metrics)

    @methods.method("get_account")
    async def get_account(account: Count, head: Literal["unsafe", "safe"] = "unsafe") -> AccountView:
        '''One line that rpc.discover shows.'''

Parameters come by name or by position and are decoded straight into the annotated types by msgspec; what does not fit
is answered with -32602 and the path of the culprit. A function whose first parameter is called `connection` gets it. A
plain `def` runs at once, in the order of arrival on its connection, and must not block; it may return a Deferred. An
`async def` runs in a task of its own. Results are anything msgspec encodes: bytes must be made hex by the method.
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

import msgspec
import trio

from node.config import MetricsConfig, RpcConfig
from node.metrics import CONTENT_TYPE, Metrics
from node.rpc.errors import ErrorKind, RpcError, fail, kind_of
from node.transport import SLOW, Bound, Connection, Deferred, Dispatch, HttpResponse, HttpRoutes, Limits, serve

Function = TypeVar("Function", bound=Callable[..., Any])

_METHOD_NAME: Final = re.compile(r"[a-z][A-Za-z0-9_.]{0,63}\Z")
_AT: Final = re.compile(r"^(?P<reason>.*?)(?: - at `(?P<path>.*)`)?$", re.DOTALL)
_FIELD: Final = re.compile(r"(?:missing required|unknown) field `(?P<field>[^`]*)`")
_POSITION: Final = re.compile(r"^\$\[(?P<position>\d+)\]")
_REFS: Final = "#/components/schemas/{name}"


class Method:
    """One registered function and how its parameters are decoded."""

    __slots__ = (
        "_by_name", "_by_position", "function", "is_async", "name", "names", "requests", "required", "result",
        "seconds", "types", "wants_connection",
    )

    def __init__(self, name: str, function: Callable[..., Any], metrics: Metrics | None) -> None:
        hints = get_type_hints(function, include_extras=True)
        parameters = list(inspect.signature(function).parameters.values())
        self.wants_connection = bool(parameters) and parameters[0].name == "connection"
        parameters = parameters[self.wants_connection :]
        fields: list[Any] = []
        for parameter in parameters:
            if parameter.name not in hints:
                raise TypeError(f"method {name}: parameter {parameter.name} has no annotation")
            field = (parameter.name, hints[parameter.name])
            has_default = parameter.default is not inspect.Parameter.empty
            fields.append((*field, parameter.default) if has_default else field)
        self.name = name
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        self.names = tuple(parameter.name for parameter in parameters)
        self.types = tuple(hints[parameter] for parameter in self.names)
        self.required = sum(1 for parameter in parameters if parameter.default is inspect.Parameter.empty)
        self.result = _awaited_type(hints.get("return", Any))
        self._by_name = msgspec.json.Decoder(
            msgspec.defstruct(f"{name}_params", fields, forbid_unknown_fields=True, gc=False))
        self._by_position = msgspec.json.Decoder(
            msgspec.defstruct(f"{name}_list", fields, array_like=True, forbid_unknown_fields=True, gc=False))
        try:
            msgspec.json.schema_components((*self.types, self.result))
        except TypeError as error:
            raise TypeError(f"method {name}: a parameter or the result has no JSON form: {error}") from error
        self.requests = metrics.rpc_requests.labels(name) if metrics else None
        self.seconds = metrics.rpc_seconds.labels(name) if metrics else None

    def arguments(self, params: msgspec.Raw) -> tuple[Any, ...]:
        """The decoded arguments. Raises RpcError (-32602) naming the parameter at fault."""
        raw = bytes(params)
        if not raw or raw == b"null":
            raw = b"[]"
        try:
            decoder = self._by_name if raw[:1] == b"{" else self._by_position
            return msgspec.structs.astuple(decoder.decode(raw))
        except msgspec.ValidationError as error:
            raise self._misfit(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise fail(ErrorKind.InvalidParams, f"{self.name}: params cannot be read: {error}") from None

    def _misfit(self, text: str) -> RpcError:
        match = _AT.match(text)
        reason, path = (match["reason"], match["path"] or "$") if match else (text, "$")
        position = _POSITION.match(path)
        if position:
            path = self.names[int(position["position"])] + path[position.end() :]
        path = path.removeprefix("$").removeprefix(".")
        field = _FIELD.search(reason)
        if field:
            path = f"{path}.{field['field']}" if path else field["field"]
            reason = "is missing" if "missing" in reason else "is unknown"
        elif not path:
            reason = f"params must be a list or an object of {self.usage()} ({reason})"
        message = f"{self.name}: {path or 'params'}: {reason}"
        return fail(ErrorKind.InvalidParams, message, param=path, reason=reason)

    def usage(self) -> str:
        """The parameters' names; optional ones in brackets."""
        names = [name if at < self.required else f"[{name}]" for at, name in enumerate(self.names)]
        return ", ".join(names) or "nothing"


def _awaited_type(result: Any) -> Any:
    """What reaches the caller: the argument of a Deferred, None as JSON's null."""
    if result is Deferred:
        return Any
    return get_args(result)[0] if get_origin(result) is Deferred else result


class Registry:
    """The methods of one server; a transport.FastDispatch."""

    def __init__(self, title: str, version: str, metrics: Metrics | None = None) -> None:
        self._title = title
        self._version = version
        self._metrics = metrics
        self._methods: dict[str, Method] = {}
        self._discovery: msgspec.Raw | None = None
        self.add("rpc.discover", self._discover)
        self.add("rpc_modules", self._modules)

    def method(self, name: str) -> Callable[[Function], Function]:
        """Decorator: registers a function as method `name`."""

        def register(function: Function) -> Function:
            self.add(name, function)
            return function

        return register

    def add(self, name: str, function: Callable[..., Any]) -> None:
        """Registers `function`. Raises ValueError for a name taken or malformed, TypeError for its annotations."""
        if not _METHOD_NAME.match(name):
            raise ValueError(f"method name {name!r}: start with a letter, then letters, digits, _ and .; at most 64")
        if name in self._methods:
            raise ValueError(f"method {name} is registered already")
        self._methods[name] = Method(name, function, self._metrics)
        self._discovery = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._methods)

    # --- dispatch ----------------------------------------------------------------------------------------------------

    def start(self, name: str, params: msgspec.Raw, connection: Connection) -> Any:
        """Runs a plain function at once; SLOW for a coroutine function. Raises RpcError."""
        method = self._methods.get(name)
        if method is None:
            raise self._unknown(name)
        if method.is_async:
            return SLOW
        begun = time.perf_counter()
        try:
            arguments = method.arguments(params)
            result = method.function(connection, *arguments) if method.wants_connection else method.function(*arguments)
        except Exception as error:
            self._count(method, begun, error)
            raise
        if isinstance(result, Deferred):
            if method.requests is not None:
                method.requests.inc()
        else:
            self._count(method, begun, None)
        return result

    async def __call__(self, name: str, params: msgspec.Raw, connection: Connection) -> Any:
        """Runs any method. Raises RpcError."""
        method = self._methods.get(name)
        if method is None:
            raise self._unknown(name)
        begun = time.perf_counter()
        try:
            arguments = method.arguments(params)
            result = method.function(connection, *arguments) if method.wants_connection else method.function(*arguments)
            if method.is_async:
                result = await result
        except Exception as error:
            self._count(method, begun, error)
            raise
        self._count(method, begun, None)
        return result

    def _count(self, method: Method, begun: float, error: Exception | None) -> None:
        if method.requests is None or method.seconds is None or self._metrics is None:
            return
        method.requests.inc()
        method.seconds.observe(time.perf_counter() - begun)
        if error is not None:
            kind = kind_of(error) if isinstance(error, RpcError) else ErrorKind.InternalError
            self._metrics.rpc_errors.labels(method.name, kind.name if kind else "Other").inc()

    def _unknown(self, name: str) -> RpcError:
        if self._metrics is not None:
            self._metrics.rpc_errors.labels("unknown", ErrorKind.MethodNotFound.name).inc()
        shown = name[:64]
        near = get_close_matches(shown, self._methods, n=1)
        hint = f"did you mean {near[0]}?" if near else "rpc.discover lists the methods"
        return fail(ErrorKind.MethodNotFound, f"there is no method {shown!r}: {hint}")

    # --- self-description --------------------------------------------------------------------------------------------

    def _modules(self) -> dict[str, str]:
        """The namespaces served here and their versions."""
        return {name.split("_", 1)[0]: "1.0" for name in self._methods if "_" in name}

    def _discover(self) -> Any:
        """This document: every method with the schemas of its parameters and result (OpenRPC)."""
        if self._discovery is None:
            self._discovery = msgspec.Raw(msgspec.json.encode(self._describe()))
        return self._discovery

    def _describe(self) -> dict[str, Any]:
        methods = [self._methods[name] for name in sorted(self._methods)]
        types = [kind for method in methods for kind in (*method.types, method.result)]
        schemas, components = msgspec.json.schema_components(types, ref_template=_REFS)
        remaining = iter(schemas)
        described = []
        for method in methods:
            params = [
                {"name": name, "required": at < method.required, "schema": next(remaining)}
                for at, name in enumerate(method.names)
            ]
            summary = (inspect.getdoc(method.function) or "").split("\n", 1)[0]
            described.append({
                "name": method.name, "summary": summary, "paramStructure": "either", "params": params,
                "result": {"name": "result", "schema": next(remaining)},
            })
        errors = [{"kind": kind.name, "code": kind.code, "ancestry": kind.ancestry} for kind in ErrorKind]
        return {
            "openrpc": "1.2.6", "info": {"title": self._title, "version": self._version}, "methods": described,
            "components": {"schemas": components}, "x-error-kinds": errors,
        }


def routes(metrics: Metrics | None, problem: Callable[[], str] | None = None) -> HttpRoutes:
    """GET /healthz (200, or 503 with the text of `problem()` when it is not empty) and, with metrics, GET /metrics."""

    async def healthz() -> HttpResponse:
        text = problem() if problem else ""
        return HttpResponse(503 if text else 200, (text or "ok").encode())

    async def exposition() -> HttpResponse:
        assert metrics is not None
        return HttpResponse(200, metrics.render(), CONTENT_TYPE)

    return {"/healthz": healthz, "/metrics": exposition} if metrics else {"/healthz": healthz}


async def serve_rpc(
    config: RpcConfig,
    registry: Registry,
    *,
    metrics: Metrics | None = None,
    problem: Callable[[], str] | None = None,
    task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves `registry` as the configuration says, until cancelled."""
    limits = Limits(connections_max=config.connections_max, origins=config.origins)
    run = partial(serve, limits=limits, http_routes=routes(metrics, problem), task_status=task_status)
    await run(config.addr, config.port, registry, port_fallback=config.port_fallback)


async def serve_metrics(
    config: MetricsConfig,
    metrics: Metrics,
    *,
    task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves /metrics and /healthz alone, for a port that only operators reach, until cancelled."""
    nothing: Dispatch = Registry("metrics", "1")
    await serve(
        config.addr, config.port, nothing,
        limits=Limits(connections_max=64), http_routes=routes(metrics), task_status=task_status)
