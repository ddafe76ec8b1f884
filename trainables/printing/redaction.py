"""Removal of secrets from addresses and messages before they are shown, stored or logged."""

import re
from urllib.parse import quote, unquote, unquote_plus

HIDDEN = "***"
HARMLESS_KEYS = frozenset(
    (
        *("region", "endpoint_override", "scheme", "versionid", "sslmode", "mode", "cache", "timeout", "charset"),
        *("connect_timeout", "application_name", "allow_bucket_creation", "allow_bucket_deletion", "name", "sha256"),
        *("experiment_name", "viewstatesharekey", "workflowtype"),
    )
)
"""Query keys of an address whose values are shown; the values of other keys may be secret."""
SECRET_WORDS = (
    *("password", "passwd", "passphrase", "passcode", "pwd", "secret", "token", "signature", "credential", "jwt"),
    *("apikey", "accesskey", "accountkey", "privatekey", "sharedkey", "storagekey", "signingkey", "authorization"),
)
SECRET_KEYS = frozenset(("pass", "pw", "sig", "key", "auth", "code", "bearer", "cookie"))
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*:(?://|\\\\|/(?=[^/\s]*:[^/\s]*@))"
_ADDRESS = re.compile(rf"({_SCHEME})([^\s'\"<>`]*)")
_SPACED = re.compile(r"(:(?://|\\\\))[^/?#\s@:]*:(?!\d{1,5}(?:[^\w%]|$))[^@\n]*@")
"""User's password with spaces or quotes; a port doesn't match."""
_BARE = re.compile(r"(?<![\w*])[\w.+%-]*:(?![/*])[^\s@'\"]+@(?=[\w\[])")
"""user:password@host without a scheme."""
_PAIR = re.compile(r"([?&;#])([^=&;#?]+)=([^&;#]*)")
_QUERY_ALONE = re.compile(r"\?[^=&;#?*]+(?=$|#)")
_WORD = r"(?:" + "|".join((*SECRET_WORDS, "sig")).replace("key", "[_-]?key") + r"|access[_-]?key[_-]?id)"
_ASSIGNED = re.compile(
    rf"((?<![\w%-])[\w.%-]*?{_WORD}s?)(\s*=\s*|[\"']\s*[:=]\s*)(\*\*\*|\"[^\"\n]*\"|'[^'\n]*'|[^\s&;,'\"]+)", re.I
)
_HEADER = re.compile(r"\b((?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?(?:\w+ )?|bearer )[^\s,'\"]+", re.I)


def redact(text: str, address: str = "") -> str:
    """Return an address, message or command line with each secret replaced by three stars.

    Secrets are credentials, values of a query except those of harmless keys, and values assigned to secret names.

    Args:
        text: The text to show.
        address: An address that the text may quote in another spelling; its secrets are hidden everywhere in the text.
    """
    for secret in _secrets(address):
        text = text.replace(secret, HIDDEN)
    text = _SPACED.sub(rf"\g<1>{HIDDEN}@", text)
    text = _ADDRESS.sub(lambda found: found[1] + _shown(found[2]), text)
    text = _BARE.sub(f"{HIDDEN}@", text)
    text = _ASSIGNED.sub(rf"\g<1>\g<2>{HIDDEN}", text)
    return _HEADER.sub(rf"\g<1>{HIDDEN}", text)


def secret_part(address: str) -> str:
    """Return in words which part of an address is secret; empty if none is."""
    _, mark, rest = address.partition("://")
    if mark and _credentials_end(rest):
        return "a user name or password"
    pairs = _PAIR.findall(address)
    keys = [unquote_plus(key) for _, key, value in pairs if _is_secret(key) or re.search(":.*@", unquote(value))]
    return f"{keys[0]!r} in its query" if keys else ""


def _shown(rest: str) -> str:
    """Return what follows an address's scheme, without its secrets."""
    if end := _credentials_end(rest):
        rest = f"{HIDDEN}@{rest[end:]}"
    rest = _PAIR.sub(
        lambda found: found[0] if _is_harmless(found[2], found[3]) else f"{found[1]}{found[2]}={HIDDEN}", rest
    )
    return _QUERY_ALONE.sub(f"?{HIDDEN}", rest)


def _credentials_end(rest: str) -> int:
    """Return the index where the credentials of an address end; 0 if it has none.

    A password may contain any unquoted character. So if the apparent host contains a colon or an @, the credentials
    extend to the last @.
    """
    host = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    return rest.rfind("@") + 1 if "@" in host or ":" in host else 0


def _is_harmless(key: str, value: str) -> bool:
    return unquote_plus(key).lower() in HARMLESS_KEYS and "@" not in unquote(value)


def _is_secret(key: str) -> bool:
    plain = re.sub(r"[^a-z0-9]", "", unquote_plus(key).lower())
    return plain in SECRET_KEYS or plain.startswith(("xamz", "xgoog")) or any(word in plain for word in SECRET_WORDS)


def _secrets(address: str) -> list[str]:
    """Return the secrets of an address in all spellings that a library's message may use, longest first."""
    _, _, rest = address.partition("://")
    end = _credentials_end(rest)
    found = [rest[: end - 1], rest[: end - 1].partition(":")[2]] if end else []
    found += [value for _, key, value in _PAIR.findall(rest[end:]) if not _is_harmless(key, value)]
    spellings = {other for one in found for other in (one, unquote(one), quote(one, safe=""))}
    return sorted((one for one in spellings if len(one) > 2), key=len, reverse=True)
