"""Where the rows of what to forget come from: a file, or a query of a database."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl, urlsplit

from recbole_unlearn.errors import UsageError

ForgetFormat = Literal["inter", "csv", "jsonl", "parquet", "segment", "personalize"]
FORMATS = get_args(ForgetFormat)
ENDINGS = {".inter": "inter", ".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}
SETTINGS = ("forget_file", "forget_format", "forget_url", "forget_query")  # in the order of the arguments
FROM_ENVIRONMENT = "env:"  # what a URL begins with if a variable has it
SECRET = re.compile(r"pass|pwd|secret|token|key", re.IGNORECASE)  # in the name of a URL's parameter


@dataclass(frozen=True)
class RequestSource:
    """A file, or a query of a database.

    Args:
        path: of the file.
        format: of the file, one of ``FORMATS``; by default, what its ending says.
        url: of the database, as SQLAlchemy has it, without a password; or ``env:NAME`` for the one in an environment
            variable, which may have a password. Settings are logged and kept in files.
        query: in SQL; its columns have the names of a file's.

    Raises:
        UsageError: the source is none of these, or both, or would make a password known.
    """

    path: str | None = None
    format: str | None = None
    url: str | None = None
    query: str | None = field(default=None, repr=False)

    def __post_init__(self):
        if (self.path is None) == (self.query is None and self.url is None):
            raise UsageError("Requests come from --forget_file, or from --forget_query with --forget_url: give one.")
        if self.path is None and not (self.url and self.query):
            raise UsageError("--forget_query and --forget_url need each other: a query, and the database to ask.")
        if self.path is None and self.format is not None:
            raise UsageError("--forget_format is of a file, and a query has columns: leave it out.")
        if self.format is not None and self.format not in FORMATS:
            raise UsageError(f"--forget_format should be one of {', '.join(FORMATS)}.")
        if self.url is not None and _has_password(self.url):
            raise UsageError(
                "--forget_url has a password, and settings are logged and kept in files. Put the URL into an "
                "environment variable, and give --forget_url=env:NAME."
            )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "RequestSource | None":
        """The source that settings name; None if they name none.

        Raises:
            UsageError: see above; or a format has no file.
        """
        values = [settings.get(name) or None for name in SETTINGS]
        if values[1] is not None and not any((values[0], *values[2:])):
            raise UsageError("--forget_format needs --forget_file, whose format it is.")
        return cls(*values) if any(values) else None

    def __str__(self) -> str:
        return "The rows of --forget_query" if self.path is None else f"Request file '{self.path}'"

    @property
    def kind(self) -> str | None:
        """``query``, or the format of the file; None if nothing says it."""
        if self.path is None:
            return "query"
        return self.format or ENDINGS.get(Path(self.path).suffix.lower())

    def full_url(self) -> str:
        """The URL to connect with, which may have a password.

        Raises:
            UsageError: the environment has no such variable.
        """
        url = self.url or ""
        if not url.startswith(FROM_ENVIRONMENT):
            return url
        name = url.removeprefix(FROM_ENVIRONMENT)
        if not os.environ.get(name):
            raise UsageError(f"--forget_url={url}: the environment has no variable '{name}', or it is empty.")
        return os.environ[name]


def _has_password(url):
    try:
        parts = urlsplit(url)
        return parts.password is not None or any(SECRET.search(name) for name, _ in parse_qsl(parts.query))
    except ValueError:  # e.g. a bracket, which may belong to a password
        return True
