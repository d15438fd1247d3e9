"""A reverse HTTP proxy that misbehaves as it is told. Headers pass unchanged, so signatures hold.

    python faultproxy.py PORT UPSTREAM_HOST:PORT

`PUT /__faults` with a JSON list of rules replaces the rules and forgets the log; `GET /__faults`
gives rules with their hits, and the log. A rule has an `action`, and may have

    method, path   which requests it is about; `path` is a regular expression
    nth            which of these fire, counted from 1
    times          how often it may fire at all
    share, seed    fire for this share of them, drawn from a seed

Actions: `status` answers `code` without asking upstream, `after` asks it first (a lost
acknowledgement), `delay` waits `seconds` before it forwards, `hang` waits and never answers,
`reset` and `reset_after` reset the connection, `truncate` sends the share `keep` of a body,
`corrupt` flips a bit in the middle of a body, `torn` forwards the share `keep` of an upload, and
`any` is one of a list of actions.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import sys
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect"}
ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>%s</Message></Error>'
CODES = {500: "InternalError", 503: "SlowDown", 403: "AccessDenied", 409: "Conflict"}


class Proxy:
    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.rules: list[dict[str, Any]] = []
        self.log: list[tuple[str, str, str | None]] = []
        self.random = random.Random(0)

    def set_rules(self, rules: list[dict[str, Any]]) -> None:
        self.rules, self.log = rules, []
        self.random = random.Random(next((r["seed"] for r in rules if "seed" in r), 0))

    def rule_for(self, request: web.Request) -> dict[str, Any]:
        for rule in self.rules:
            if rule.get("method", request.method) != request.method:
                continue
            if not re.search(rule.get("path", ""), request.raw_path):
                continue
            rule["seen"] = rule.get("seen", 0) + 1
            if "nth" in rule and rule["seen"] not in rule["nth"]:
                continue
            if rule.get("hits", 0) >= rule.get("times", 2**60):
                continue
            if self.random.random() >= rule.get("share", 1):
                continue
            rule["hits"] = rule.get("hits", 0) + 1
            return self.random.choice(rule["of"]) if rule["action"] == "any" else rule
        return {"action": None}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/__faults":
            if request.method == "PUT":
                self.set_rules(await request.json())
            return web.json_response({"rules": self.rules, "log": self.log})
        rule = self.rule_for(request)
        action = rule["action"]
        self.log.append((request.method, request.raw_path, action))
        if action == "status":
            await request.read()
            return error(rule)
        if action == "hang":
            await asyncio.sleep(rule.get("seconds", 30))
        if action in {"hang", "reset"}:
            return reset(request)
        if action == "delay":
            await asyncio.sleep(rule.get("seconds", 1))
        body = await request.read()
        if action == "torn":
            body = body[: int(len(body) * rule.get("keep", 0.5))]
        async with self.session.request(
            request.method,
            URL(f"http://{self.upstream}{request.raw_path}", encoded=True),
            headers=passed_on(request.raw_headers, also=frozenset({"content-length"})),
            data=body if body or request.method in {"PUT", "POST"} else None,
            allow_redirects=False,
        ) as answer:
            data = await answer.read()
            if action == "after":
                return error(rule)
            if action == "reset_after":
                return reset(request)
            if action == "corrupt" and data:
                data = bytearray(data)
                data[len(data) // 2] ^= 1
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in passed_on(answer.raw_headers):
                response.headers.add(name, value)
        if request.method == "HEAD" or answer.status in {204, 304}:
            await response.prepare(request)
            return response
        response.headers.setdefault("Content-Length", str(len(data)))
        await response.prepare(request)
        if action == "truncate" and data:
            await response.write(bytes(data[: int(len(data) * rule.get("keep", 0.5))]))
            request.transport.close()
            return response
        await response.write(bytes(data))
        await response.write_eof()
        return response

    async def serve(self, port: int) -> None:
        headers = ["User-Agent", "Accept", "Accept-Encoding", "Content-Type"]
        self.session = aiohttp.ClientSession(
            auto_decompress=False, skip_auto_headers=headers,
            connector=aiohttp.TCPConnector(limit=0),
        )  # fmt: skip
        app = web.Application(client_max_size=2**31)
        app.router.add_route("*", "/{tail:.*}", self.handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


def passed_on(headers: Any, also: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    pairs = [(name.decode(), value.decode("latin1")) for name, value in headers]
    return [pair for pair in pairs if pair[0].lower() not in HOP_BY_HOP | also]


def error(rule: dict[str, Any]) -> web.Response:
    code = rule.get("code", 503)
    body = ERROR % (CODES.get(code, "InternalError"), "injected")
    return web.Response(status=code, body=body.encode(), content_type="application/xml")


def reset(request: web.Request) -> web.Response:
    assert request.transport is not None
    connection = request.transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()
    return web.Response()


if __name__ == "__main__":
    asyncio.run(Proxy(sys.argv[2]).serve(int(sys.argv[1])))
