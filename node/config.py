"""Configuration of every role: one frozen tree, shared by flag, environment and TOML file.

A key is named the same everywhere: `--l1.poll-ms`, `ANCHORLINE_L1_POLL_MS`, and `poll_ms` under `[l1]`; a flag beats
the environment, the environment the file. The command line composes them; this module only knows the tree, its checks,
and how to read a file strictly. Secrets are never keys of it: private keys come from a keystore file or from the
environment variables named in `KEY_VARIABLES`, and are opened by the command line alone.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, get_type_hints
from urllib.parse import urlsplit

import msgspec

from node.stf.params import PAID_MAX
from node.units import UnitsError, parse_markets

Role = Literal["sequencer", "verifier", "watchtower", "liquidity"]

#: role -> (variable with the hex private key, variable with the keystore's password)
KEY_VARIABLES: Final[dict[str, tuple[str, str]]] = {
    role: (f"ANCHORLINE_{role.upper()}_KEY", f"ANCHORLINE_{role.upper()}_PASSWORD")
    for role in ("sequencer", "batcher", "watchtower", "liquidity")
}
_PORT_MAX: Final = 65_535
_POSTED_CHUNKS_MAX: Final = 256
#: nodes refuse transactions over 128 KB; the rest is for headers and roots
_POSTED_BYTES_MAX: Final = 110_000
#: what L1 holds at most: 2^62 micro-USD
_DOLLARS_MAX: Final = 2**62 // 10**6


class ConfigError(Exception):
    """A key that cannot work: names it, says what is wrong with it and what to do."""

    def __init__(self, key: str, problem: str, remedy: str) -> None:
        super().__init__(f"{key}: {problem}; {remedy}")
        self.key = key


@dataclass(frozen=True)
class LogConfig:
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is printed."""
    format: Literal["text", "logfmt", "json"] = "text"
    """Form of a line: text for people, logfmt or json for machines."""


@dataclass(frozen=True)
class MetricsConfig:
    enabled: bool = False
    """Serve Prometheus metrics on a port of their own (the RPC port serves /metrics too)."""
    addr: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 7300
    """Port to listen on; 0 takes any free one."""


@dataclass(frozen=True)
class L1Config:
    rpc: str = field(default="http://127.0.0.1:8545", repr=False)
    """URL of the L1 node's JSON-RPC (it may hold an access key, so it is never printed whole)."""
    rollup: str = ""
    """Address of the Rollup contract."""
    start_block: int = 0
    """First L1 block that is read: the one of the Rollup contract's deployment."""
    confirmations: int = 1
    """Blocks on top of an L1 block before it is read; shallower reorgs are never seen."""
    poll_ms: int = 1_000
    """Pause between looks at the L1 head, milliseconds."""
    logs_range_max: int = 2_000
    """Blocks in one eth_getLogs; providers cap it."""
    threads: int = 4
    """Calls to L1 that may run at once."""


@dataclass(frozen=True)
class RpcConfig:
    addr: str = "127.0.0.1"
    """Address to listen on. Anything but loopback is reachable by others."""
    port: int = 9545
    """Port for HTTP and WebSocket; 0 takes any free one."""
    port_fallback: bool = False
    """Take any free port if that one is taken, instead of ending."""
    origins: tuple[str, ...] = ()
    """Origins of web pages that may call; "*" allows every page."""
    connections_max: int = 512
    """Clients served at once."""
    markets: tuple[str, ...] = ()
    """Names and decimals of markets, for people: MARKET=SYMBOL:TICK:LOT, such as 0=BTC-PERP:0.1:0.0001."""


@dataclass(frozen=True)
class SequencerConfig:
    block_ms: int = 250
    """Time between L2 blocks, milliseconds."""
    block_bytes_max: int = 100_000
    """Transaction bytes in one L2 block."""
    group_commit_ms: int = 2
    """How long promises wait for each other to share one sync to disk and one signature, milliseconds."""
    unanchored_ms_max: int = 600_000
    """L2 time that may be un-anchored before new orders are refused, milliseconds."""
    keystore: Path | None = None
    """Keystore file of the key that signs promises."""


@dataclass(frozen=True)
class BatcherConfig:
    post_ms: int = 15_000
    """Greatest age of an unposted block, milliseconds."""
    post_bytes: int = 60_000
    """Unposted bytes at which a batch is posted without waiting."""
    chunks_max: int = 64
    """Chunks in one batch."""
    confirmations: int = 2
    """Blocks on top of a posting before it counts as done."""
    resubmit_ms: int = 48_000
    """Time after which a pending transaction is replaced at a higher fee, milliseconds."""
    fee_max_gwei: int = 500
    """Greatest fee per gas that is ever offered, gwei."""
    notice_ids: int = 8
    """Paid withdrawals that one L1 transaction tells L2 to forget, up to 8; 0 sends none."""
    keystore: Path | None = None
    """Keystore file of the key that posts batches."""


@dataclass(frozen=True)
class VerifierConfig:
    sequencer_rpc: str = field(default="", repr=False)
    """URL of the sequencer's RPC to follow its unsafe head; empty follows L1 alone."""
    undo_blocks: int = 100_000
    """L2 blocks whose undo records are kept: how deep a rollback can go without deriving anew."""


@dataclass(frozen=True)
class WatchtowerConfig:
    strategy: Literal["watch", "defend"] = "watch"
    """watch raises an alarm on a wrong root; defend also proves the fraud on L1."""
    confirmations: int = 2
    """Blocks on top of a proof's transaction before it counts as done."""
    resubmit_ms: int = 24_000
    """Time after which a pending proof is replaced at a higher fee, milliseconds."""
    fee_max_gwei: int = 2_000
    """Greatest fee per gas that is ever offered, gwei."""
    keystore: Path | None = None
    """Keystore file of the key that sends proofs (strategy defend)."""
    drill_gas_max: int = 3_000_000
    """Most gas that the proof of one fire drill may take."""
    drill_gas_daily: int = 12_000_000
    """Most gas for fire drills in 24 hours; 0 refuses them. Only who can write into the datadir can ask for one."""


@dataclass(frozen=True)
class LiquidityConfig:
    fee_ppm: int = 0
    """Fee for paying a claim early, ppm of its amount; 0 prices time and risk instead (node/liquidity/pricing.py)."""
    rate_ppm: int = 100_000
    """Price of a year of waiting, ppm of the amount; counts while fee_ppm is 0."""
    risk_ppm: int = 300
    """Price of the risk that a checked claim is never paid, ppm of the amount; counts while fee_ppm is 0."""
    fee_min_cents: int = 50
    """Least fee: two L1 transactions have to be paid for whatever the amount, cents."""
    max_claim_usd: int = 10_000
    """Largest claim that is bought, dollars."""
    max_total_usd: int = 100_000
    """Most in claims that are bought and not paid back yet, dollars; also what the market may take at once."""
    claims_max: int = 64
    """Claims that are held or being bought at once."""
    min_depth: int = 0
    """L1 blocks on top of a claim's batch before it is bought; 0 waits for L1's own safe head."""
    quote_s: int = 300
    """How long a quote stands, seconds."""
    confirmations: int = 2
    """Blocks on top of a transaction before it counts as done."""
    resubmit_ms: int = 24_000
    """Time after which a pending transaction is replaced at a higher fee, milliseconds."""
    fee_max_gwei: int = 500
    """Greatest fee per gas that is ever offered, gwei."""
    keystore: Path | None = None
    """Keystore file of the key that buys and owns claims."""


@dataclass(frozen=True)
class Config:
    """Everything a role can be told. Sections of other roles are allowed in a file and ignored."""

    datadir: Path = Path("data")
    """Folder of the database and of what was signed; one process at a time."""
    log: LogConfig = field(default_factory=LogConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    l1: L1Config = field(default_factory=L1Config)
    rpc: RpcConfig = field(default_factory=RpcConfig)
    sequencer: SequencerConfig = field(default_factory=SequencerConfig)
    batcher: BatcherConfig = field(default_factory=BatcherConfig)
    verifier: VerifierConfig = field(default_factory=VerifierConfig)
    watchtower: WatchtowerConfig = field(default_factory=WatchtowerConfig)
    liquidity: LiquidityConfig = field(default_factory=LiquidityConfig)

    def check(self, role: Role) -> None:
        """Raises ConfigError for the first key with which `role` could not work."""
        _check_l1(self.l1)
        _check_port("rpc.port", self.rpc.port)
        _check_at_least("rpc.connections_max", self.rpc.connections_max, 1)
        _check_origins(self.rpc.origins)
        _check_markets(self.rpc.markets)
        if self.metrics.enabled:
            _check_port("metrics.port", self.metrics.port)
            if self.metrics.port == self.rpc.port != 0 and self.metrics.addr == self.rpc.addr:
                raise ConfigError("metrics.port", f"{self.metrics.port} is rpc.port too", "choose another one")
        if self.datadir.exists() and not self.datadir.is_dir():
            raise ConfigError("datadir", f"{self.datadir} is not a folder", "name a folder, it is created when missing")
        if role == "sequencer":
            _check_sequencer(self.sequencer)
            _check_batcher(self.batcher)
            if self.sequencer.unanchored_ms_max <= self.batcher.post_ms:
                problem = f"{self.sequencer.unanchored_ms_max} is not above batcher.post_ms"
                raise ConfigError("sequencer.unanchored_ms_max", problem, "orders would stop before a batch is due")
        elif role == "verifier":
            _check_verifier(self.verifier)
        elif role == "liquidity":
            _check_verifier(self.verifier)
            _check_liquidity(self.liquidity)
        else:
            _check_verifier(self.verifier)
            _check_watchtower(self.watchtower)


def load_file(path: Path) -> Config:
    """The configuration in a TOML file. Raises ConfigError for an unreadable file, unknown key or wrong type."""
    try:
        tree = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read ({error.strerror})", "name an existing TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"is not TOML ({error})", "see configs/ for examples") from error
    return from_mapping(tree, source=str(path))


def from_mapping(tree: dict[str, Any], *, source: str) -> Config:
    """The configuration in nested dicts; missing keys keep their defaults. Raises ConfigError."""
    _refuse_unknown(tree, Config, source, "")
    try:
        return msgspec.convert(tree, Config, dec_hook=_to_path)
    except msgspec.ValidationError as error:
        problem, _, where = str(error).partition(" - at `$.")
        raise ConfigError(f"{source}: {where.rstrip('`') or 'file'}", problem, "give it that type") from error


def _to_path(kind: type[Any], value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise ValueError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")


def _refuse_unknown(tree: dict[str, Any], section: type[Any], source: str, prefix: str) -> None:
    hints = get_type_hints(section)
    known = {item.name: hints[item.name] for item in fields(section)}
    for key, value in tree.items():
        if key not in known:
            near = get_close_matches(key, known, n=1)
            remedy = f"did you mean {prefix}{near[0]}?" if near else f"known here: {', '.join(known)}"
            raise ConfigError(f"{source}: {prefix}{key}", "unknown key", remedy)
        if is_dataclass(known[key]) and isinstance(value, dict):
            _refuse_unknown(value, known[key], source, f"{prefix}{key}.")


def _check_at_least(key: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(key, f"is {value}", f"give {least} or more")


def _check_between(key: str, value: int, least: int, greatest: int) -> None:
    if not least <= value <= greatest:
        raise ConfigError(key, f"is {value}", f"give {least} to {greatest}")


def _check_port(key: str, port: int) -> None:
    _check_between(key, port, 0, _PORT_MAX)


def _check_url(key: str, url: str, schemes: tuple[str, ...]) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        forms = " or ".join(f"{scheme}://host:port" for scheme in schemes)
        raise ConfigError(key, "is not a usable URL", f"give {forms}")


def _check_origins(origins: tuple[str, ...]) -> None:
    for origin in origins:
        if origin != "*" and ("://" not in origin or origin.endswith("/")):
            remedy = 'write scheme://host:port without a slash, or "*"'
            raise ConfigError("rpc.origins", f"{origin!r} is no origin", remedy)


def _check_markets(markets: tuple[str, ...]) -> None:
    try:
        parse_markets(markets)
    except UnitsError as error:
        raise ConfigError("rpc.markets", str(error), "name each market once, with its tick and lot") from None


def _check_l1(l1: L1Config) -> None:
    _check_url("l1.rpc", l1.rpc, ("http", "https"))
    digits = l1.rollup.removeprefix("0x")
    if len(l1.rollup) != 42 or len(digits) != 40 or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
        raise ConfigError("l1.rollup", f"{l1.rollup!r} is no address", "give the Rollup's, 0x and 40 hex digits")
    if int(digits, 16) == 0:
        raise ConfigError("l1.rollup", "is the zero address", "give the deployed Rollup contract's")
    _check_at_least("l1.start_block", l1.start_block, 0)
    _check_between("l1.confirmations", l1.confirmations, 0, 1_000)
    _check_between("l1.poll_ms", l1.poll_ms, 10, 600_000)
    _check_between("l1.logs_range_max", l1.logs_range_max, 1, 100_000)
    _check_between("l1.threads", l1.threads, 1, 64)


def _check_sequencer(sequencer: SequencerConfig) -> None:
    _check_between("sequencer.block_ms", sequencer.block_ms, 10, 60_000)
    _check_between("sequencer.block_bytes_max", sequencer.block_bytes_max, 2_048, 4_000_000)
    _check_between("sequencer.group_commit_ms", sequencer.group_commit_ms, 0, 1_000)
    _check_at_least("sequencer.unanchored_ms_max", sequencer.unanchored_ms_max, sequencer.block_ms)
    _check_keystore("sequencer.keystore", sequencer.keystore)


def _check_batcher(batcher: BatcherConfig) -> None:
    _check_between("batcher.post_ms", batcher.post_ms, 100, 86_400_000)
    _check_between("batcher.post_bytes", batcher.post_bytes, 1, _POSTED_BYTES_MAX)
    _check_between("batcher.chunks_max", batcher.chunks_max, 1, _POSTED_CHUNKS_MAX)
    _check_between("batcher.notice_ids", batcher.notice_ids, 0, PAID_MAX)
    _check_sending("batcher", batcher.confirmations, batcher.resubmit_ms, batcher.fee_max_gwei)
    _check_keystore("batcher.keystore", batcher.keystore)


def _check_sending(section: str, confirmations: int, resubmit_ms: int, fee_max_gwei: int) -> None:
    _check_between(f"{section}.confirmations", confirmations, 0, 1_000)
    _check_between(f"{section}.resubmit_ms", resubmit_ms, 100, 3_600_000)
    _check_between(f"{section}.fee_max_gwei", fee_max_gwei, 1, 1_000_000)


def _check_verifier(verifier: VerifierConfig) -> None:
    if verifier.sequencer_rpc:
        _check_url("verifier.sequencer_rpc", verifier.sequencer_rpc, ("http", "https", "ws", "wss"))
    _check_at_least("verifier.undo_blocks", verifier.undo_blocks, 1)


def _check_watchtower(watchtower: WatchtowerConfig) -> None:
    _check_sending("watchtower", watchtower.confirmations, watchtower.resubmit_ms, watchtower.fee_max_gwei)
    _check_keystore("watchtower.keystore", watchtower.keystore)
    _check_between("watchtower.drill_gas_max", watchtower.drill_gas_max, 100_000, 16_777_216)
    _check_between("watchtower.drill_gas_daily", watchtower.drill_gas_daily, 0, 1_000_000_000)


def _check_liquidity(liquidity: LiquidityConfig) -> None:
    for name in ("fee_ppm", "rate_ppm", "risk_ppm"):
        _check_between(f"liquidity.{name}", getattr(liquidity, name), 0, 999_999)
    _check_between("liquidity.fee_min_cents", liquidity.fee_min_cents, 0, 1_000_000)
    _check_between("liquidity.max_claim_usd", liquidity.max_claim_usd, 1, _DOLLARS_MAX)
    _check_between("liquidity.max_total_usd", liquidity.max_total_usd, liquidity.max_claim_usd, _DOLLARS_MAX)
    _check_between("liquidity.claims_max", liquidity.claims_max, 1, 1_024)
    _check_between("liquidity.min_depth", liquidity.min_depth, 0, 100_000)
    _check_between("liquidity.quote_s", liquidity.quote_s, 60, 3_600)
    _check_sending("liquidity", liquidity.confirmations, liquidity.resubmit_ms, liquidity.fee_max_gwei)
    _check_keystore("liquidity.keystore", liquidity.keystore)


def _check_keystore(key: str, path: Path | None) -> None:
    if path is not None and not path.is_file():
        raise ConfigError(key, f"{path} is no file", "name an Ethereum keystore file (JSON)")
