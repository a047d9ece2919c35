"""Odd input: bodies that are JSON and nothing a client of ours would send, and entries of the store that no replica wrote."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import redis

    from tests.chaos.attackers import Attacker

_DEPTHS: Final = (50, 99, 101, 260, 600, 950, 5000, 100_000)


def values(random: Random) -> Iterator[bytes]:
    """Values as they stand in a body; most are JSON."""
    for depth in _DEPTHS:
        yield b"[" * depth + b"]" * depth
        yield b'{"a":' * depth + b"1" + b"}" * depth
    yield from (b"NaN", b"-Infinity", b"1e999", b"-0.0", b"1" * 400, b"-" + b"9" * 5000, b"0.1e-9999", b"00", b"+1")
    yield from (rb'"\ud83d"', rb'"\udc00\ud800"', rb'"a\u0000b"', b'"' + b"\xf0\x9f" + b'"', b'"' + b"x" * 100_000 + b'"', b'"\x01"')
    yield b"[" + b",".join([b"0"] * 20_000) + b"]"
    yield b"{" + b",".join(b'"k%d":{}' % number for number in range(5000)) + b"}"
    yield b'{"__proto__":1,"constructor":{},"":"","a":1,"a":2}'
    yield b"null"
    yield b"true"
    for _ in range(10):
        yield json.dumps(_grown(random, 6)).encode()


def _grown(random: Random, depth: int) -> Any:
    """A random JSON value."""
    kind = random.randrange(8 if depth else 5)
    match kind:
        case 0:
            return random.choice([None, True, False])
        case 1:
            return random.randint(-(2**70), 2**70)
        case 2:
            return random.uniform(-1e308, 1e308)
        case 3 | 4:
            return "".join(
                chr(random.choice([random.randrange(1, 0x250), random.randrange(0xE000, 0xFFFF)])) for _ in range(random.randrange(9))
            )
        case 5 | 6:
            return [_grown(random, depth - 1) for _ in range(random.randrange(4))]
        case _:
            return {str(_grown(random, 0)): _grown(random, depth - 1) for _ in range(random.randrange(4))}


_HOLE: Final = "\x00hole\x00"


def bodies(random: Random, attacker: Attacker, session: Mapping[str, str], worker: int) -> Iterator[tuple[dict[str, str], bytes]]:
    """Requests with an odd value in one field each; every fourth, starting with the number of the worker."""
    modern, call = attacker.modern("append", call=1, count=0)
    legacy = attacker.legacy("append", call=1, count=0)
    templates = [*((modern, message) for message in _holed(call)), *((dict(session), message) for message in _holed(legacy))]
    templates += [(dict(session), {"jsonrpc": "2.0", "id": "x-1", "error": {"code": 1, "message": "m", "data": _HOLE}})]
    templates += [(dict(session), {"jsonrpc": "2.0", "id": "x-1", "result": _HOLE})]
    templates += [(dict(session), {"jsonrpc": "2.0", "method": "notifications/progress", "params": _HOLE})]
    odd = list(values(random))
    everything = [(template, value) for template in range(len(templates)) for value in range(len(odd))]
    random.shuffle(everything)
    for template, value in everything[worker::4]:
        headers, message = templates[template]
        yield headers, json.dumps(message).encode().replace(json.dumps(_HOLE).encode(), odd[value])


def _holed(message: Any) -> Iterator[Any]:
    """The message with each of its values, at any depth, replaced by the hole."""
    yield _HOLE
    if isinstance(message, dict):
        for name, value in message.items():
            for holed in _holed(value):
                yield {**message, name: holed}
        yield {**message, "odd": _HOLE}


def store_entries(random: Random, client: redis.Redis, keys: list[str]) -> Callable[[], None]:
    """Return what writes one odd entry: on the bus, or over something in one of these keys."""
    buses = [key for key in client.scan_iter("*") if key.endswith(":bus")]
    words = ["moved", "resource", "tools", "everything", "begun", "", "new-kind"]
    odd = ["", "x", "-1", "1:2:3", "\udcff", "9" * 400, "[" * 900, "null", '{"v":99}', "NaN", "\x00", "a" * 3000]

    def text() -> bytes:
        return random.choice(odd).encode("utf-8", "surrogateescape") if random.random() < 0.8 else random.randbytes(random.randrange(40))

    def on_the_bus() -> None:
        fields: dict[Any, Any] = {"k": random.choice([random.choice(words).encode(), text()]), "u": text(), "v": text()}
        for name in random.sample(sorted(fields), random.randrange(3)):
            del fields[name]
        client.xadd(random.choice(buses), fields or {"?": "?"})

    def over_a_key() -> None:
        key = random.choice(keys)
        kind: Any = client.type(key)
        match kind:
            case "hash":
                known: Any = client.hkeys(key)
                client.hset(key, random.choice([*known, "c:odd", "n:odd", "w:odd", "t:odd"]), text())  # pyright: ignore[reportArgumentType]
            case "stream":
                client.xadd(key, {"s": text(), "k": text(), "m": text(), "d": text()})  # pyright: ignore[reportArgumentType]
            case "zset":
                client.zadd(key, {text().decode("latin-1"): random.random()})
            case _:
                client.set(key, text())

    def write() -> None:
        (over_a_key if keys and random.random() < 0.5 else on_the_bus)()

    return write
