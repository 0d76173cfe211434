"""Python's websockets as one side of a conversation with this library.

    peer.py server OPTIONS        prints "listening on PORT", and "closed CODE REASON" for each connection that ends
    peer.py client OPTIONS URL    plays all groups against URL, prints "ok NAME" or "FAILED NAME: WHY", last "done N"

What the paths mean and what OPTIONS (JSON) holds is said in interop_test.go.
"""

import asyncio
import json
import os
import ssl
import sys
import urllib.parse

import websockets
from websockets.extensions import permessage_deflate

HERE = os.path.dirname(os.path.abspath(__file__))
SIZES = [0, 1, 125, 126, 127, 65535, 65536, 1 << 20]
CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
LETTERS = "Grüße, 世界 👏\n"


def text(octets):
    """A text of exactly that many octets in UTF-8, with characters of one to four octets."""
    whole = LETTERS.encode() * (octets // len(LETTERS.encode()) + 1)
    cut = whole[:octets].decode(errors="ignore")
    return cut + "." * (octets - len(cut.encode()))


def binary(octets):
    return bytes(i * 7 & 255 for i in range(min(octets, 4096))) * (octets // 4096 + 1) if octets > 4096 else bytes(
        i * 7 & 255 for i in range(octets)
    )


def pieces(message, count=5):
    """The message in that many fragments, cut where the octets fall; text is cut between characters."""
    size = len(message) // count + 1
    return [message[i : i + size] for i in range(0, max(len(message), 1), size)]


def client_extensions(deflate):
    if deflate is None:
        return None
    takeover = deflate.get("takeover", False)
    return [
        permessage_deflate.ClientPerMessageDeflateFactory(
            server_no_context_takeover=not takeover,
            client_no_context_takeover=not takeover,
            server_max_window_bits=deflate.get("serverBits"),
            client_max_window_bits=deflate.get("clientBits", True),
        )
    ]


def server_extensions(deflate):
    if deflate is None:
        return None
    takeover = deflate.get("takeover", False)
    return [
        permessage_deflate.ServerPerMessageDeflateFactory(
            server_no_context_takeover=not takeover,
            client_no_context_takeover=not takeover,
            server_max_window_bits=deflate.get("serverBits"),
            client_max_window_bits=deflate.get("clientBits"),
        )
    ]


COMMON = {"max_size": 1 << 25, "ping_interval": None, "close_timeout": 10, "compression": None}


# Server


async def serve(ws):
    url = urllib.parse.urlsplit(ws.path if hasattr(ws, "path") else ws.request.path)
    query = dict(urllib.parse.parse_qsl(url.query))
    if url.path == "/close":
        if "code" in query:
            await ws.close(int(query["code"]), query.get("reason", ""))
        else:
            await close_empty(ws)
    elif url.path == "/raw":
        ws.transport.write(bytes.fromhex(query["octets"]) + bytes(int(query.get("padding", 0))))
    elif url.path == "/ping":
        await (await ws.ping(b"are you there?"))
        await ws.send("pong")
    try:
        async for message in ws:
            if url.path == "/fragments":
                await ws.send(with_pings(ws, message))
            else:
                await ws.send(message)
    except websockets.ConnectionClosed:
        pass
    await ws.wait_closed()
    print("closed", ws.close_code, ws.close_reason, flush=True)


async def close_empty(ws):
    """A Close frame without a payload, which websockets' close cannot send."""
    ws.transport.write(b"\x88\x00" if not ws.is_client else b"\x88\x80\x00\x00\x00\x00")


async def with_pings(ws, message):
    for piece in pieces(message):
        await ws.ping()
        yield piece


async def server(options):
    async with websockets.serve(
        serve,
        "127.0.0.1",
        0,
        extensions=server_extensions(options.get("deflate")),
        subprotocols=["chat.v2", "chat.v1"],
        **COMMON,
    ) as s:
        print("listening on", s.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


# Client


class Client:
    def __init__(self, url, options):
        self.url = url
        self.deflate = options.get("deflate")
        self.groups = options["groups"]
        self.checks = 0

    def connect(self, path="/echo", **more):
        if self.url.startswith("wss:"):
            more["ssl"] = ssl._create_unverified_context()
        return websockets.connect(
            self.url + path, extensions=client_extensions(self.deflate), **COMMON, **more
        )

    async def check(self, name, conversation):
        self.checks += 1
        try:
            why = await asyncio.wait_for(conversation, 30)
        except Exception as e:  # whatever goes wrong is this check's result
            why = f"{type(e).__name__}: {e}"
        print(f"FAILED {name}: {why}" if why else f"ok {name}", flush=True)

    async def run(self):
        for group in self.groups:
            await getattr(self, group)()
        print("done", self.checks, flush=True)

    async def echoes(self, ws, message, as_sent=None):
        await ws.send(message if as_sent is None else as_sent)
        got = await ws.recv()
        if got != message:
            return f"got {type(got).__name__} of {len(got)}, sent {type(message).__name__} of {len(message)}"

    async def echo(self):
        async with self.connect() as ws:
            for size in SIZES:
                await self.check(f"echo/text of {size}", self.echoes(ws, text(size)))
                await self.check(f"echo/binary of {size}", self.echoes(ws, binary(size)))
            if self.deflate is not None:
                await self.check("echo/random", self.echoes(ws, os.urandom(50_000)))
                for i in range(20):
                    await self.check(f"echo/JSON {i}", self.echoes(ws, json.dumps({"id": i, "text": LETTERS * i})))
            await self.check("echo/extensions", self.agreed(ws))

    async def agreed(self, ws):
        agreed = ws.extensions if hasattr(ws, "extensions") else ws.protocol.extensions
        if self.deflate is None:
            return f"agreed {agreed}" if agreed else None
        if len(agreed) != 1:
            return "no extension agreed"
        takeover = self.deflate.get("takeover", False)
        if agreed[0].remote_no_context_takeover == takeover or agreed[0].local_no_context_takeover == takeover:
            return f"agreed {agreed[0]}"
        if agreed[0].remote_max_window_bits > (self.deflate.get("serverBits") or 15):
            return f"agreed {agreed[0]}"

    async def fragments(self):
        async with self.connect("/fragments") as ws:
            for size in SIZES[1:]:
                for message in (text(size), binary(size)):
                    name = f"fragments/{type(message).__name__} of {size}"
                    await self.check(name, self.echoes(ws, message, with_pings(ws, message)))

    async def ping(self):
        async with self.connect() as ws:
            for payload in (b"", b"1", b"x" * 125):
                await self.check(f"ping/of {len(payload)}", self.pong(ws, payload))

    async def pong(self, ws, payload):
        await asyncio.wait_for(await ws.ping(payload), 10)

    async def pinged(self):
        async with self.connect("/ping") as ws:
            await self.check("pinged/by the server", self.hears(ws, "pong"))

    async def hears(self, ws, want):
        got = await ws.recv()
        return None if got == want else f"got {got!r}"

    async def close(self):
        for code in CODES:
            await self.check(f"close/with {code}", self.closes(code, f"Grund {code} 👏"))
        await self.check("close/long reason", self.closes(1000, "é" * 61))
        await self.check("close/empty", self.closes_empty())

    async def closes(self, code, reason):
        ws = await self.connect()
        await ws.send("the last message")
        await ws.close(code, reason)
        return self.closed_as(ws, code)

    async def closes_empty(self):
        ws = await self.connect()
        await close_empty(ws)
        await ws.wait_closed()
        return self.closed_as(ws, 1005)

    def closed_as(self, ws, code, reason=None):
        if ws.close_code != code or reason is not None and ws.close_reason != reason:
            return f"closed with {ws.close_code} {ws.close_reason!r}, want {code} {reason!r}"

    async def closed(self):
        for code in CODES:
            await self.check(f"closed/with {code}", self.is_closed(code, f"Grund {code} 👏"))
        await self.check("closed/empty", self.is_closed(None, ""))

    async def is_closed(self, code, reason):
        query = urllib.parse.urlencode({"code": code, "reason": reason}) if code else ""
        ws = await self.connect("/close?" + query)
        await ws.wait_closed()
        return self.closed_as(ws, code or 1005, reason)

    async def raw(self):
        with open(os.path.join(HERE, "raw.json")) as f:
            rows = json.load(f)
        for row in rows:
            if "toServer" in row and not (self.deflate is not None and row.get("plainOnly")):
                await self.check(f"raw/{row['name']} ({row['section']})", self.sends(row))

    async def sends(self, row):
        ws = await self.connect()
        ws.transport.write(bytes.fromhex(row["toServer"]) + bytes(row.get("padding", 0)))
        await ws.wait_closed()
        return self.closed_as(ws, row["code"])

    async def subprotocol(self):
        async with self.connect(subprotocols=["other", "chat.v1", "chat.v2"]) as ws:
            await self.check("subprotocol/the server's order", self.speaks(ws, "chat.v2"))
        async with self.connect(subprotocols=["other"]) as ws:
            await self.check("subprotocol/none in common", self.speaks(ws, None))

    async def speaks(self, ws, want):
        return None if ws.subprotocol == want else f"speaks {ws.subprotocol}"


if __name__ == "__main__":
    options = json.loads(sys.argv[2])
    asyncio.run(server(options) if sys.argv[1] == "server" else Client(sys.argv[3], options).run())
