"""Every limit of the service in one place, with its unit and its default, and where each is read from."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PositiveFloat, PositiveInt, ValidationError

from sympress.config import THREADS_MOST, Marks, marks_of, read_config_file, setting
from sympress.errors import InputError, nearest

#: Notes of one request of JSON beyond which it is not looked whether they are any.
NOTES_MOST = 10_000
#: A setting without a flag.
_limit = partial(setting, marks=Marks(flag=None))


def _split(value: Any) -> Any:
    """The parts of a text with commas, as an environment variable has them."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


_Names = Annotated[tuple[str, ...], BeforeValidator(_split)]


class ServeConfig(BaseModel):
    """What the service serves, how it listens, and the most that it takes.

    Each setting is also an environment variable and a key of a TOML file (`read_settings`); most are flags.
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

    batch_notes: PositiveInt = _limit(32, "Most notes in a batch.")
    batch_characters: PositiveInt = _limit(65_536, "Most in a batch, unless its only note is longer.")
    batch_ms: PositiveFloat = _limit(100.0, "Most for a batch of several notes, judged by the rate of late.")
    request_notes: PositiveInt = _limit(256, "Most notes in one request of JSON.", le=NOTES_MOST)
    lines: PositiveInt = _limit(10_000, "Most lines in one request of NDJSON.")
    line_requests: PositiveInt = _limit(4, "Most requests of NDJSON that are answered at the same time.")
    line_seconds: PositiveFloat = _limit(300.0, "From such a request's last byte to its last answer.")
    uploads_bytes: PositiveInt = _limit(32 * 1024 * 1024, "Most of bodies being read at the same time.")
    answer_bytes: PositiveInt = _limit(16 * 1024 * 1024, "Largest answer to a request, or to a line.")
    answers_bytes: PositiveInt = _limit(
        32 * 1024 * 1024, "Most of answers being sent; beyond, clients that do not read theirs are cut."
    )
    load_seconds: PositiveFloat = _limit(60.0, "Most for an artifact to load and to answer once.")
    body_seconds: PositiveFloat = _limit(10.0, "Most that a body may take to arrive.")
    header_seconds: PositiveFloat = _limit(5.0, "Most that a request's head may take to arrive.")
    idle_seconds: PositiveInt = _limit(15, "How long a connection may lie idle between requests.")
    unread_seconds: PositiveFloat = _limit(5.0, "How long a client may read nothing of what waits for it.")
    connections: PositiveInt = _limit(512, "Most open connections; one beyond is closed at once.")
    drain_seconds: PositiveInt = _limit(30, "Most that a stopping server gives to the requests it took.")

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
    known = {*ServeConfig.model_fields, _FILE}
    for name in (one[len(PREFIX) :].lower() for one in os.environ if one.upper().startswith(PREFIX)):
        if name not in known:
            close = nearest(name, known).upper().replace("DID YOU MEAN", "did you mean")
            raise InputError(f"{PREFIX}{name.upper()}: no setting has that name{close}; unset it")
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
