"""Who may ask: API keys, compared in constant time, and the host names that a request may use."""

from __future__ import annotations

import hmac
import os
import stat
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from sympress.deploy.serve.refusals import Refusal
from sympress.errors import InputError
from sympress.files import refuse_pipe

KEY_VARIABLE = "SYMPRESS_API_KEY"
SHORTEST_KEY = 16
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class ApiKeys:
    """The keys that open the service; only their SHA-256 digests are kept.

    `warnings` say, a line each, what is unsafe about where they come from.
    """

    def __init__(self, keys: Iterable[str], warnings: Iterable[str] = ()) -> None:
        self.warnings = tuple(warnings)
        self._digests = [sha256(key.encode()).digest() for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def admit(self, headers: Mapping[bytes, bytes]) -> None:
        """Let a request with a known key pass, or any if there are no keys.

        Every key is compared, each in constant time, so that the time taken says nothing.

        Raises:
            Refusal: 401, no known key in `Authorization: Bearer KEY` or `X-API-Key: KEY`.
        """
        if not self._digests:
            return
        scheme, _, bearer = headers.get(b"authorization", b"").partition(b" ")
        given = bearer.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")
        digest = sha256(given).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if not any(matches):
            raise Refusal(
                401,
                "key_required",
                "this service needs its API key: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
                {"WWW-Authenticate": "Bearer"},
            )


def read_keys(file: Path | None) -> ApiKeys:
    """Keys from `file`, one a line, and from the environment variable `SYMPRESS_API_KEY`.

    Empty lines of the file and those that begin with `#` hold none. A file that every user of the machine can
    read is warned of; a container's secret often is such a file.

    Raises:
        InputError: the file cannot be read or holds no key, or a key is too short to be safe.
    """
    keys = [key for key in [os.environ.get(KEY_VARIABLE, "").strip()] if key]
    warnings = []
    if file is not None:
        refuse_pipe(file)
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
            mode = stat.S_IMODE(file.stat().st_mode)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: the API key cannot be read ({type(error).__name__})") from error
        found = [line for line in lines if line and not line.startswith("#")]
        if not found:
            raise InputError(f"{file}: no API key in it; write one a line")
        keys += found
        if mode & stat.S_IROTH and os.name == "posix":
            warnings.append(f"{file}: every user of this machine can read it (mode {mode:o}); chmod o-r it")
    if any(len(key) < SHORTEST_KEY for key in keys):
        raise InputError(f"an API key is shorter than {SHORTEST_KEY} characters; use a longer one")
    return ApiKeys(keys, warnings)


def check_host(headers: Mapping[bytes, bytes], *, loopback: bool, allowed: Iterable[str]) -> None:
    """Let a request for a name of this service pass; a page elsewhere cannot reach it by rebinding DNS.

    On loopback only the loopback names and `allowed` pass; otherwise any, unless `allowed` names some.

    Raises:
        Refusal: 421, the Host header names something else.
    """
    names = {name.lower() for name in allowed}
    if not loopback and not names:
        return
    host = headers.get(b"host", b"").decode("latin-1").lower()
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if name not in names | LOOPBACK_NAMES:
        raise Refusal(
            421,
            "unknown_host",
            "this service does not answer to that host name; start it with --allowed-host NAME",
            close=True,
        )
