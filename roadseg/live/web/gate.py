"""Who may come in: the Host, the Origin and the token of every request, and the headers of every
answer. Pure ASGI, in front of everything else."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Guessing costs time.
_WRONG_TOKEN_S = 0.5

# A viewer that takes nothing for so long is gone; its connection is cut.
_STALL_S = 20.0

# What answers without a token, and says no more than whether all is well.
_OPEN_PATHS = ("/healthz",)

_LOGIN = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>roadseg</title>
<body>
<form method="get" action="/"><h1>roadseg</h1>
<p><label>Token: <input name="token" type="password" required autofocus autocomplete="off"></label>
<button>Open</button></p><p>{why}</p></form></body></html>"""


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach an address that is listened on."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def known_hosts(address: str, more: Iterable[str] = ()) -> frozenset[str]:
    """Names that viewers may use for this machine; addresses in figures are always allowed, since
    no foreign name can be made to lead to them."""
    names = {"localhost", address, *more}
    if not is_loopback(address):
        name = socket.gethostname()
        names |= {name, f"{name}.local", socket.getfqdn()}
    return frozenset(each.lower().rstrip(".") for each in names)


class Gate:
    """Lets in what belongs here.

    Args:
        app: what lies behind.
        hosts: see `known_hosts`.
        token: None lets everybody in who has reached the address.
        cookie: name of the cookie; browsers share cookies between ports, so it holds the port.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str], token: str | None, cookie: str) -> None:
        self._app = app
        self._hosts = hosts
        self._token = token
        self._cookie = cookie
        # The browser keeps something that proves the token, and does not hold it.
        self._ticket = "" if token is None else _proof(token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        send = _guarded(scope, send, headers.get("host", ""))
        refusal = self._refusal(scope, headers) or await self._ask_token(scope, headers)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """Why a request is none of ours: DNS rebinding, or another site's page behind it."""
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._is_known(host):
            return PlainTextResponse("this machine is not known by that name\n", 421)
        origin = headers.get("origin")
        if origin is not None and _place(origin) != _place(f"//{host}"):
            return PlainTextResponse("pages of other sites may not ask this\n", 403)
        foreign = headers.get("sec-fetch-site", "none") in ("cross-site", "same-site")
        visits = headers.get("sec-fetch-mode") == "navigate" and scope["path"] == "/"
        visits = visits and headers.get("sec-fetch-dest") == "document"
        if foreign and not visits:
            return PlainTextResponse("pages of other sites may not ask this\n", 403)
        return None

    def _is_known(self, host: str) -> bool:
        name, _ = _place(f"//{host}")
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    async def _ask_token(self, scope: Scope, headers: Headers) -> Response | None:
        """None for a viewer with the token; one that shows it for the first time is sent on, so
        that it stands in no address bar, history or log."""
        scope["roadseg.trusted"] = True
        if self._token is None:
            return None
        if _same(self._carried(headers), self._ticket):
            return None
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _same(_proof(bearer.strip()), self._ticket):
            return None
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        given = query.pop("token", None) if scope["type"] == "http" else None
        if given is not None and _same(_proof(given), self._ticket):
            rest = f"?{urlencode(query)}" if query else ""
            # One slash: two would lead to another machine.
            to = RedirectResponse("/" + scope["path"].lstrip("/\\") + rest, 303)
            secure = scope["scheme"] == "https"
            to.set_cookie(
                self._cookie, self._ticket, httponly=True, samesite="lax", secure=secure, path="/"
            )
            return to
        scope["roadseg.trusted"] = False
        if scope["path"] in _OPEN_PATHS and given is None:
            return None
        if given is not None or kind:
            await asyncio.sleep(_WRONG_TOKEN_S)
        why = "" if given is None else "That is not the token."
        return HTMLResponse(_LOGIN.format(why=why), 401)

    def _carried(self, headers: Mapping[str, str]) -> str:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return ""
        return "" if morsel is None else morsel.value


def _guarded(scope: Scope, send: Send, host: str) -> Send:
    """Adds headers, and cuts the connection of one that takes nothing."""

    transport = scope.get("state", {}).get("transport")

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            for name, value in _security_headers(host).items():
                headers.setdefault(name, value)
        # No `wait_for`: up to Python 3.11 it may swallow that a task is cancelled.
        timer = asyncio.get_running_loop().call_later(_STALL_S, cut, transport)
        try:
            await send(message)
        finally:
            timer.cancel()
        if transport is not None and transport.is_closing() and _has_more(message):
            raise OSError("the viewer is gone")

    return guarded


def cut(transport: asyncio.Transport | None) -> None:
    """End a connection at once: a farewell would wait behind what is not read."""
    if transport is not None:
        transport.abort()


def _has_more(message: Message) -> bool:
    return bool(message["type"] == "websocket.send" or message.get("more_body"))


def _security_headers(host: str) -> dict[str, str]:
    # Older Safaris do not count WebSockets among 'self'. The host has been checked, or the answer
    # is a refusal.
    sockets = (
        f"ws://{host} wss://{host}" if host.isascii() and not set(host) & set(" ;,'\"") else ""
    )
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        f"connect-src 'self' {sockets}; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    return {
        "content-security-policy": policy,
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), microphone=(), geolocation=()",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "cache-control": "no-cache",
    }


def _place(url: str) -> tuple[str, int | None]:
    """Host and port of an address; default ports are left out. ("", None) for nonsense."""
    try:
        parts = urlsplit(url)
        port = None if parts.port in (80, 443) else parts.port
    except ValueError:
        return "", None
    return (parts.hostname or "").lower().rstrip("."), port


def _proof(token: str) -> str:
    return hmac.new(token.encode(), b"roadseg page", hashlib.sha256).hexdigest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
