"""`sympress serve`: symptom extraction over HTTP, and a page to try it on."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from sympress.cli.options import read_words, settings_options
from sympress.errors import require_serving
from sympress.runtime.artifact import BOX_FOLDER
from sympress.serve.config import ServeConfig


@settings_options(of=ServeConfig)
def serve(
    config: Annotated[
        Path | None, typer.Option(help="TOML file with settings: the names of the flags, with _ for -.")
    ] = None,
    **flags: Any,
) -> None:
    """Serve artifacts on this machine: POST /v1/extract, and a page at /.

    Each flag is also an environment variable, SYMPRESS_SERVE_PORT for --port, and a key of the file --config.
    Flags win, then the environment.

    SIGHUP loads every artifact and your own words again, SIGTERM stops when every request that was taken is
    answered.
    """
    require_serving()
    from sympress.serve.auth import read_keys
    from sympress.serve.models import parse_digests, parse_models
    from sympress.serve.server import serve as run_service
    from sympress.serve.settings import read_settings

    settings = read_settings(flags, config)
    folders = parse_models(settings.model) if settings.model else {"box": BOX_FOLDER}
    words = partial(read_words, settings.lexicon, settings.cues, settings.sections)
    digests = parse_digests(settings.digest, list(folders))
    run_service(settings, folders, read_keys(settings.api_key_file), words, digests)
