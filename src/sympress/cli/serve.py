"""`sympress serve`: symptom extraction over HTTP, and a page to try it on."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sympress.cli.options import CuesOption, LexiconOption, SectionsOption, read_words
from sympress.errors import require_serving
from sympress.runtime.artifact import BOX_FOLDER


def serve(  # noqa: PLR0917  typer reads options from parameters
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="[NAME=]DIR",
            help="Artifact to serve; repeat for several. Default: the model that comes with sympress.",
        ),
    ] = None,
    digest: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]DIGEST",
            help="Refuse every other artifact than this one, also on reload: sha256:…, as `sympress pack` "
            "prints it; one a model.",
        ),
    ] = None,
    lexicon: LexiconOption = None,
    cues: CuesOption = None,
    sections: SectionsOption = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; one that is not loopback needs an API key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")] = 8000,
    threads: Annotated[int, typer.Option(min=1, help="Batches that run at the same time, a core each.")] = 1,
    api_key_file: Annotated[
        Path | None,
        typer.Option(help="File with API keys, one a line; or set SYMPRESS_API_KEY."),
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM file: certificate chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file: private key.")] = None,
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="Host name that requests may use beside the loopback names.")
    ] = None,
    queue_notes: Annotated[int, typer.Option(min=1, help="Notes that may wait; beyond, 429.")] = 128,
    queue_characters: Annotated[
        int, typer.Option(min=1, help="Characters that may wait; beyond, 429.")
    ] = 1_000_000,
    request_seconds: Annotated[
        float, typer.Option(min=0.001, help="Most time from a request's last byte to its answer.")
    ] = 10.0,
    note_mb: Annotated[
        float, typer.Option(min=1, help="Most memory for one note beside the model, in 10⁶ bytes.")
    ] = 160.0,
    most_mentions: Annotated[int, typer.Option(min=1, help="A note with more mentions fails.")] = 10_000,
    client_connections: Annotated[
        int, typer.Option(min=1, help="Open connections of one client address; more behind a proxy.")
    ] = 128,
    body_mb: Annotated[float, typer.Option(min=0.001, help="Largest body of a request, in 10⁶ bytes.")] = 4.0,
) -> None:
    """Serve artifacts on this machine: POST /v1/extract, and a page at /.

    SIGHUP loads every artifact and your own words again, SIGTERM stops when every request that was taken is
    answered.
    """
    require_serving()
    from sympress.serve.auth import read_keys
    from sympress.serve.config import ServeConfig
    from sympress.serve.models import parse_digests, parse_models
    from sympress.serve.server import serve as run_service

    config = ServeConfig(
        host=host,
        port=port,
        threads=threads,
        certificate=tls_certificate,
        private_key=tls_key,
        allowed_hosts=tuple(allowed_host or ()),
        queue_notes=queue_notes,
        queue_characters=queue_characters,
        request_seconds=request_seconds,
        note_mentions=most_mentions,
        note_bytes=round(note_mb * 1e6),
        client_connections=client_connections,
        body_bytes=round(body_mb * 1e6),
    )
    folders = parse_models(model) if model else {"box": BOX_FOLDER}
    words = partial(read_words, lexicon, cues, sections)
    digests = parse_digests(digest or [], list(folders))
    run_service(config, folders, read_keys(api_key_file), words, digests)
