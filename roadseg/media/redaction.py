"""Names of sources without their passwords: whatever names a source to people goes through here.

Hidden: user name and password of a URL, its fragment, and the values of query and path
parameters, unless they are known to be harmless. In doubt more is hidden rather than less.
Readable: scheme, host, port, path, and parameters such as `channel=1`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_HIDDEN = "***"

_SCHEME = re.compile(r"(?:[a-z][a-z0-9+.-]*:/+|//+)", re.IGNORECASE)
_URL_IN_TEXT = re.compile(
    r"""(?<=")[a-z][a-z0-9+.-]*:/[^"\n]*(?=")|(?<=')[a-z][a-z0-9+.-]*:/[^'\n]*(?=')"""
    r"""|[a-z][a-z0-9+.-]*:/[^\s'"]+""",
    re.IGNORECASE,
)
_CLAUSE_ENDS = ":;,."
_DRIVE = re.compile(r"[a-z]:[\\/]", re.IGNORECASE)

_IP = r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[[0-9a-f:.%]+[^\]]*\]|localhost)"
_AT_AN_IP = re.compile(rf"{_IP}(?::[0-9]*)?(?=[/?#]|$)", re.IGNORECASE)
_AT_A_HOST = re.compile(r"[\w.-]*[^\W0-9_][\w.-]*(?::[0-9]*)?(?=[/?#]|$)")
_HOST_AND_PORT = re.compile(r"[\w.-]+:[0-9]{1,5}")

_SECRET_KEY = (
    r"(?:[\w.-]*(?:user|usr|login|account|pass|pwd|psw|secret|token|auth|credential|session|"
    r"signature|cookie|apikey|api[_-]key|access[_-]?key|jwt)[\w-]*|pw|id-?pw|proxy-(?:id|pw)|key|"
    r"sig|sid|pin|u|p)"
)
_IS_SECRET_KEY = re.compile(_SECRET_KEY, re.IGNORECASE)

# Keys and words that cameras use for what to send, and how.
_HARMLESS_KEY = re.compile(
    r"(?:channel|chn?|channelid|cam|camera|cameraid|subtype|stream|streamtype|real_stream|profile|"
    r"resolution|res|size|width|height|fps|rate|framerate|quality|codec|videocodec|audio|video|"
    r"unicast|transport|transportmode|proto|protocol|compression|format|view|mode|type|action|"
    r"inst|track|trackid|starttime|endtime|x|y|w|h|t|v)",
    re.IGNORECASE,
)
_HARMLESS_VALUE = re.compile(r"[0-9]{1,5}(?:x[0-9]{1,5})?(?:\.sdp)?", re.IGNORECASE)

# In a path: `/user=admin_password=xyz_channel=1_stream=0.sdp`, as XM cameras have it. A value
# ends where the next key begins, since a password may hold any of the characters between them.
_SECRET_IN_PATH = re.compile(
    rf"(?<![a-z0-9])(?P<key>{_SECRET_KEY})=(?P<value>.*?)(?=[/_&;,][a-z][a-z0-9.-]*=|$)",
    re.IGNORECASE | re.DOTALL,
)
_LOGIN_IN_PATH = re.compile(r"(?<![a-z0-9])(?:pass\w*|pwd|pw|psw|token|secret)=", re.IGNORECASE)
_SECRET_PROPERTY = re.compile(
    rf"(?<![\w-])(?P<key>{_SECRET_KEY})\s*=\s*(?:\"[^\"]*\"?|'[^']*'?|[^\s!]\S*)", re.IGNORECASE
)

# Characters that end a user name or password for whoever reads the URL by its rules.
_TO_ESCAPE = re.compile(r"[@/?#:\[\]\s]|%(?![0-9a-f]{2})", re.IGNORECASE)


def redact(source: str) -> str:
    """`--source` as it may be shown: a URL, a GStreamer pipeline or a path.

    >>> redact("rtsp://admin:secret@10.0.0.7:554/live?token=abc&channel=1")
    'rtsp://***@10.0.0.7:554/live?token=***&channel=1'
    >>> redact("drive.mp4")
    'drive.mp4'
    """
    if re.search(r"\s!\s|^\s*\w+src\s", source):
        return _SECRET_PROPERTY.sub(
            rf"\g<key>={_HIDDEN}", _URL_IN_TEXT.sub(lambda m: _redact_url(m[0]), source)
        )
    return _redact_url(source)


def redact_text(text: str, sources: Iterable[str] = ()) -> str:
    """Text of any kind, with the URLs in it redacted.

    Args:
        text: a message or a traceback.
        sources: what may be quoted in it whole, such as the arguments of the program.
    """
    for source in sources:
        shown = redact(source)
        if shown != source:
            for quoted in (source, repr(source)[1:-1]):
                text = text.replace(quoted, shown)
    return _URL_IN_TEXT.sub(lambda m: _redact_in_sentence(m[0]), text)


def _redact_in_sentence(url: str) -> str:
    """The URL with what ends its clause, as in `cannot open rtsp://cam/x?token=abc: refused`."""
    bare = url.rstrip(_CLAUSE_ENDS)
    return _redact_url(bare) + url[len(bare) :]


def password_advice(url: str) -> str:
    """A hint, starting with "; ", where the password holds what a URL cannot; else empty."""
    user, at, _location = _split(url)
    if not at:
        return ""
    name, colon, password = user.partition(":")
    if not (_TO_ESCAPE.search(password) if colon else _TO_ESCAPE.search(name)):
        return ""
    return (
        "; in the password, write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and % as %25 "
        "(percent-encoded)"
    )


def _redact_url(url: str) -> str:
    if _DRIVE.match(url):
        return url
    scheme = _scheme(url)
    user, at, location = _split(url)
    if not scheme and not at and not _LOGIN_IN_PATH.search(location):
        return url  # a path or a glob, whose ? and # are its own
    location, hash_sign, _fragment = location.partition("#")
    path, question, query = location.partition("?")
    shown = scheme + (f"{_HIDDEN}@" if user else "@" if at else "") + _redact_path(path)
    if question:
        shown += "?" + _redact_query(query)
    return shown + (f"#{_HIDDEN}" if hash_sign else "")


def _scheme(url: str) -> str:
    match = _SCHEME.match(url)
    return match[0] if match else ""


def _split(url: str) -> tuple[str, bool, str]:
    """User name and password, whether there are any, and what follows them.

    Passwords are typed as they are, with any of `@/?#:` in them, so the host is not where the
    rules for URLs would look: it is what follows the last @ that a host follows.
    """
    scheme = _scheme(url)
    rest = url[len(scheme) :]
    if _AT_AN_IP.match(rest):
        return "", False, rest
    ats = [m.start() for m in re.finditer("@", rest)]
    hosts = [i for i in ats if _AT_AN_IP.match(rest, i + 1)]
    hosts = hosts or [i for i in ats if _AT_A_HOST.match(rest, i + 1)]
    if rest.endswith("@"):
        hosts = ats  # no host at all
    for at in reversed(hosts or ats):
        user = rest[:at]
        before_path = re.split(r"[/?#]", user, maxsplit=1)[0]
        # A path or a query may hold an @ as well; then no "name:" stands in front.
        in_path = not hosts and before_path != user and _HOST_AND_PORT.fullmatch(before_path)
        if (":" in before_path and not in_path) or (scheme and before_path == user):
            return user, True, rest[at + 1 :]
    return "", False, rest


def _redact_path(path: str) -> str:
    return _SECRET_IN_PATH.sub(rf"\g<key>={_HIDDEN}", path)


def _redact_query(query: str) -> str:
    """A piece without a key may be the rest of the password before it."""
    shown: list[str] = []
    for piece in re.split(r"(?<=[&;])", query):
        body, separator = (piece[:-1], piece[-1]) if piece[-1:] in ("&", ";") else (piece, "")
        key, equals, value = body.partition("=")
        after_secret = bool(shown) and shown[-1].rstrip("&;").endswith(_HIDDEN)
        if not equals:
            harmless = bool(_HARMLESS_KEY.fullmatch(key) or _HARMLESS_VALUE.fullmatch(key))
            shown.append(
                (key if not key or (harmless and not after_secret) else _HIDDEN) + separator
            )
        elif not _IS_SECRET_KEY.fullmatch(key) and (
            _HARMLESS_KEY.fullmatch(key) or _HARMLESS_VALUE.fullmatch(value) or not value
        ):
            shown.append(_redact_path(body) + separator)
        elif re.fullmatch(r"[\w.\[\]-]{1,40}", key):
            shown.append(f"{key}={_HIDDEN}{separator}")
        else:
            shown.append(_HIDDEN + separator)
    return "".join(shown)
