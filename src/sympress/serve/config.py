"""Every limit of the service in one place, with its unit and its default, and where each is read from."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PositiveFloat, PositiveInt, ValidationError

from sympress.config import THREADS_MOST, Marks, marks_of, read_config_file, setting
from sympress.errors import InputError, nearest

#: Notes of one request of JSON beyond which it is not looked whether they are any.
NOTES_MOST = 10_000
_NO_FLAG = Marks(flag=None)


def _split(value: Any) -> Any:
    """The parts of a text with commas, as an environment variable has them."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


_Names = Annotated[tuple[str, ...], BeforeValidator(_split)]


class ServeConfig(BaseModel):
    """What the service serves, how it listens, and the most that it takes.

    Each setting is also an environment variable and a key of a TOML file (`read_settings`); most
    are flags. Those without a flag:

    Attributes:
        batch_notes: most notes in a batch.
        batch_characters: most characters in a batch, unless its only note is longer.
        batch_ms: how long a batch may take in the model, judged by the rate of late, unless it is one note.
        request_notes: most notes in one request of JSON.
        lines: most lines in one request of NDJSON.
        line_requests: most requests of NDJSON that are answered at the same time.
        line_seconds: most time from the last byte of a request of NDJSON to its last answer.
        uploads_bytes: most bytes of bodies being read at the same time, over all connections.
        answer_bytes: largest answer to a request, or to a line.
        answers_bytes: most bytes of answers being sent at the same time; beyond, clients that do not read
            theirs are cut.
        load_seconds: most time that an artifact may take to load and to answer once.
        body_seconds: most time that a body may take to arrive.
        header_seconds: most time that a request's head may take to arrive.
        idle_seconds: how long a connection may lie idle between requests.
        unread_seconds: how long a client may read nothing of an answer that waits for it.
        connections: most open connections; one beyond is closed at once.
        drain_seconds: most time a stopping server gives to the requests it took.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: _Names = setting(
        (),
        "Artifact to serve, DIR or NAME=DIR; repeat for several. Default: the model that comes with "
        "sympress.",
        marks=Marks("--model"),
    )
    digest: _Names = setting(
        (),
        "Refuse every other artifact than this one, also on reload: sha256:… as `sympress pack` prints it, "
        "or NAME=sha256:…; one a model.",
        marks=Marks("--digest"),
    )
    lexicon: str | None = setting(
        None,
        "Names of symptoms: clinical, clinical+hpo (with the Human Phenotype Ontology), paper, or your TSV "
        "or TOML file.",
    )
    cues: Path | None = setting(None, "Your cues of negation and the like, a TOML file.")
    sections: Path | None = setting(None, "Your section headings, a TOML file.")
    concepts: Path | None = setting(
        None, "Codes and OMOP concepts for your symptoms, CSV or TSV; for answers as FHIR and OMOP."
    )
    host: str = setting("127.0.0.1", "Address to listen on; one that is not loopback needs an API key.")
    port: int = setting(8000, "TCP port; 0 takes a free one.", ge=0, le=65535)
    threads: PositiveInt = setting(1, "Batches that run at the same time, a core each.", le=THREADS_MOST)
    api_key_file: Path | None = setting(
        None, "File with API keys, one a line; or set the environment variable SYMPRESS_API_KEY."
    )
    tls_certificate: Path | None = setting(None, "PEM file: certificate chain. Turns TLS on.")
    tls_key: Path | None = setting(None, "PEM file: private key.")
    allowed_host: _Names = setting(
        (),
        "Host name that requests may use beside the loopback names. Repeatable.",
        marks=Marks("--allowed-host"),
    )
    queue_notes: PositiveInt = setting(128, "Notes that may wait; beyond, 429.")
    queue_characters: PositiveInt = setting(1_000_000, "Characters that may wait; beyond, 429.")
    request_seconds: PositiveFloat = setting(10.0, "Most time from a request's last byte to its answer.")
    note_mb: float = setting(160.0, "Most memory for one note beside the model, in 10⁶ bytes.", ge=1)
    most_mentions: PositiveInt = setting(10_000, "A note with more mentions fails.")
    client_connections: PositiveInt = setting(
        128, "Open connections of one client address, or IPv6 network of 64 bits; more behind a proxy."
    )
    body_mb: float = setting(4.0, "Largest body of a request, in 10⁶ bytes.", ge=0.001)
    traces: bool = setting(
        False, "Send OpenTelemetry traces to where OTEL_EXPORTER_OTLP_ENDPOINT says; needs the extra otel."
    )

    batch_notes: PositiveInt = setting(32, "", marks=_NO_FLAG)
    batch_characters: PositiveInt = setting(65_536, "", marks=_NO_FLAG)
    batch_ms: PositiveFloat = setting(100.0, "", marks=_NO_FLAG)
    request_notes: PositiveInt = setting(256, "", le=NOTES_MOST, marks=_NO_FLAG)
    lines: PositiveInt = setting(10_000, "", marks=_NO_FLAG)
    line_requests: PositiveInt = setting(4, "", marks=_NO_FLAG)
    line_seconds: PositiveFloat = setting(300.0, "", marks=_NO_FLAG)
    uploads_bytes: PositiveInt = setting(32 * 1024 * 1024, "", marks=_NO_FLAG)
    answer_bytes: PositiveInt = setting(16 * 1024 * 1024, "", marks=_NO_FLAG)
    answers_bytes: PositiveInt = setting(32 * 1024 * 1024, "", marks=_NO_FLAG)
    load_seconds: PositiveFloat = setting(60.0, "", marks=_NO_FLAG)
    body_seconds: PositiveFloat = setting(10.0, "", marks=_NO_FLAG)
    header_seconds: PositiveFloat = setting(5.0, "", marks=_NO_FLAG)
    idle_seconds: PositiveInt = setting(15, "", marks=_NO_FLAG)
    unread_seconds: PositiveFloat = setting(5.0, "", marks=_NO_FLAG)
    connections: PositiveInt = setting(512, "", marks=_NO_FLAG)
    drain_seconds: PositiveInt = setting(30, "", marks=_NO_FLAG)

    @property
    def body_bytes(self) -> int:
        """Largest body of a request."""
        return round(self.body_mb * 1e6)

    @property
    def note_bytes(self) -> int:
        """Most memory that one note may take beside the loaded artifact."""
        return round(self.note_mb * 1e6)

    @property
    def note_seconds(self) -> float:
        """Most time for one note: so short that those behind it are answered in time by the next process."""
        return 0.3 * self.request_seconds

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether `host` names the machine itself: `localhost`, 127.0.0.0/8 or ::1."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# From flags, environment and file; flags win, then the environment.


#: Before the name of a setting, in capitals, in the environment.
PREFIX = "SYMPRESS_SERVE_"
_FILE = "config"


def read_settings(flags: Mapping[str, Any], file: Path | None = None) -> ServeConfig:
    """The settings that flags, environment variables and a TOML file give.

    Args:
        flags: by setting; None or an empty list where one was not given.
        file: TOML with the names of settings as keys; that of `SYMPRESS_SERVE_CONFIG` unless given.

    Raises:
        InputError: a name is unknown, or a value is not what its setting takes; the message says where it
            came from.
    """
    _refuse_unknown((name[len(PREFIX) :].lower() for name in _named()), {*ServeConfig.model_fields, _FILE})
    if file is None and (named := os.environ.get(PREFIX + _FILE.upper(), "")):
        file = Path(named)
    of_file = read_config_file(file) if file is not None else {}
    for key in of_file:
        if key not in ServeConfig.model_fields:
            raise InputError(f"{file}: unknown setting {key!r}{nearest(key, ServeConfig.model_fields)}")
    of_environment = _read_environment()
    given = {name: value for name, value in flags.items() if value is not None and value != []}
    try:
        return ServeConfig.model_validate(of_file | of_environment | given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        place = f"{file}: {name}"
        if name in given:
            place = marks_of(name, ServeConfig).flag or "--" + name.replace("_", "-")
        elif name in of_environment:
            place = PREFIX + name.upper()
        raise InputError(f"{place} {first['input']!r}: {first['msg'].lower()}") from error


def _read_environment() -> dict[str, Any]:
    """What the environment sets; late, as `sympress serve --help` needs no extra."""
    from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

    class Environment(ServeConfig, BaseSettings):
        model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, enable_decoding=False)

    return EnvSettingsSource(Environment)()


def _named() -> list[str]:
    return [name for name in os.environ if name.upper().startswith(PREFIX)]


def _refuse_unknown(names: Any, known: set[str]) -> None:
    for name in names:
        if name not in known:
            close = nearest(name, known).upper().replace("DID YOU MEAN", "did you mean")
            raise InputError(f"{PREFIX}{name.upper()}: no setting has that name{close}; unset it")
