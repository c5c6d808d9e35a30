"""Take deletion requests over HTTP, and apply them to a model's store."""

import argparse
import gc
import logging
import os
import signal
import socket
import sys

from recbole_unlearn.arguments import count, count_or_zero, seconds, words
from recbole_unlearn.errors import UsageError, reason, unknown
from recbole_unlearn.known_settings import check_deletion_settings

TAKES_SETTINGS = True  # of deletions, e.g. --unlearn_quarantine_days=3
EXAMPLES = """
  run-unlearn serve --new_key=shop --keys=keys.txt
  run-unlearn serve --store=saved/MODEL.store --keys=keys.txt --port=8080
  run-unlearn serve --store=saved/MODEL.store --open
"""
LOOPBACK_HINT = "serve this machine alone with --host=127.0.0.1, or make keys with --new_key=NAME --keys=FILE"
HEADER_BYTES = 16 * 1024
KEEP_ALIVE_SECONDS = 5
LAST_ANSWERS_SECONDS = 15  # for answers that are under way when the service stops
MOST_CONNECTIONS = 1000
SIGNING = ("signing_key", "certificate", "domain")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.add_argument("--store", help="folder of the store, e.g. saved/M.store")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default 127.0.0.1)")
    parser.add_argument("--port", type=count_or_zero, default=8080, help="port (default 8080; 0 takes a free one)")
    parser.add_argument("--keys", help="file with a line NAME:HASH for each API key; also RECBOLE_UNLEARN_KEYS")
    parser.add_argument("--new_key", help="make a key of this name, add its hash to --keys, print it, and end")
    parser.add_argument("--open", action="store_true", help="need no key, on this machine alone")
    parser.add_argument("--signing_key", help="RSA key that signs OpenDSR's answers, PEM")
    parser.add_argument("--certificate", help="its certificate, PEM")
    parser.add_argument("--domain", help="where controllers reach the service, a name of the certificate")
    parser.add_argument(
        "--identity_type", default="controller_customer_id", help="OpenDSR's identity that is the model's user token"
    )
    parser.add_argument("--callback_hosts", type=words, default=[], help="hosts that callbacks may go to, HOST[:PORT]")
    parser.add_argument(
        "--expected_seconds", type=seconds, default=86400.0, help="promised time of a request (default a day)"
    )
    parser.add_argument("--batch", type=count, default=1000, help="requests that are applied together (default 1000)")
    parser.add_argument("--most_bytes", type=count, default=2**20, help="of a request's body (default 1048576)")
    parser.add_argument(
        "--stop_seconds", type=seconds, default=60.0, help="that a running batch has when the service stops"
    )
    parser.add_argument("--tls_key", help="key to speak TLS with, PEM; leave it to a proxy otherwise")
    parser.add_argument("--tls_certificate", help="its certificate, PEM")


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; the exit code.

    Raises:
        UsageError: an argument is wrong, or an extra is not installed.
    """
    try:
        import uvicorn

        from recbole_unlearn.server import app as server
        from recbole_unlearn.server.keys import new_key
    except ImportError as error:
        raise UsageError(f"serve needs {error.name}: pip install 'recbole-unlearn[serve]'.") from None
    if arguments.new_key is not None:
        if not arguments.keys:
            raise UsageError("--new_key needs --keys=FILE, where the key's hash goes.")
        print(new_key(arguments.new_key, arguments.keys))
        return 0
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    for name in ("httpx", "httpcore", "asyncio"):  # they name URLs, or quote what they handle
        logging.getLogger(name).setLevel(logging.CRITICAL)
    options = _options(arguments, server)
    listening = _listening(arguments.host, arguments.port)
    service = server.Service(options)
    config = uvicorn.Config(
        service.app(),
        log_config=None,
        access_log=False,  # paths have requests' ids, and an id may name somebody
        server_header=False,
        h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=LAST_ANSWERS_SECONDS,
        limit_concurrency=MOST_CONNECTIONS,
        http="h11",
        ws="none",
        lifespan="on",
        ssl_keyfile=arguments.tls_key,
        ssl_certfile=arguments.tls_certificate,
    )
    try:
        config.load()
    except OSError as error:  # of TLS
        raise UsageError(f"--tls_key and --tls_certificate cannot be used: {reason(error)}.") from None
    running = uvicorn.Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn takes them over, and raises them again when it has stopped
        signal.signal(number, running.handle_exit)
    scheme, (host, port, *_) = "https" if arguments.tls_key else "http", listening.getsockname()
    _settle_memory()
    logging.info(f"Serving {service.store.folder} on {scheme}://{f'[{host}]' if ':' in host else host}:{port}")
    try:
        running.run(sockets=[listening])
    finally:
        service.abandon()  # after a second signal
    return 0


def _options(arguments, server):
    """The service's options, checked."""
    from recbole_unlearn.server.callbacks import check_hosts, is_loopback
    from recbole_unlearn.server.keys import private_text, read_keys
    from recbole_unlearn.server.opendsr import IDENTITY_TYPES
    from recbole_unlearn.server.signing import read_signer

    if not arguments.store:
        raise UsageError("--store=FOLDER is missing. Make one with --checkpoint=CHECKPOINT --prepare.")
    local, keys = is_loopback(arguments.host), read_keys(arguments.keys, os.environ)
    if arguments.open and (arguments.host not in server.LOOPBACK or len(keys)):
        problem = "there are keys: leave out --open" if len(keys) else f"--host is open to others: {LOOPBACK_HINT}"
        raise UsageError(f"--open needs no key, but {problem}.")
    if not len(keys) and not arguments.open:
        raise UsageError(
            "There is no API key: make one with --new_key=NAME --keys=FILE, or use --open on this machine."
        )
    if not local and not arguments.tls_key:
        logging.warning("Keys and requests come unencrypted: put a proxy with TLS in front, or give --tls_key")
    if bool(arguments.tls_key) != bool(arguments.tls_certificate):
        raise UsageError("--tls_key and --tls_certificate belong together: give both, or neither.")
    if arguments.tls_key:
        private_text(arguments.tls_key)
    given = [getattr(arguments, name) for name in SIGNING]
    if any(given) and not all(given):
        raise UsageError(f"OpenDSR needs all of --{', --'.join(SIGNING)}.")
    if arguments.identity_type not in IDENTITY_TYPES:
        raise unknown("identity type", arguments.identity_type, IDENTITY_TYPES)
    if arguments.callback_hosts and not all(given):
        raise UsageError("--callback_hosts are OpenDSR's: give --signing_key, --certificate and --domain too.")
    check_hosts(arguments.callback_hosts)
    check_deletion_settings(arguments.settings)
    return server.Options(
        arguments.store,
        None if arguments.open else keys,
        read_signer(*given) if all(given) else None,
        arguments.identity_type,
        arguments.callback_hosts,
        arguments.expected_seconds,
        arguments.most_bytes,
        arguments.batch,
        arguments.stop_seconds,
        arguments.settings,
    )


def _settle_memory():
    """Let the garbage collector pass over all that is loaded by now, which stays until the end.

    Python walks through every object whenever enough new ones have outlived two younger collections. The libraries have
    some 350,000, so that each such walk holds up all answers for a third of a second.
    """
    gc.collect()
    gc.freeze()


def _listening(host, port):
    """A socket that listens at an address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(MOST_CONNECTIONS)  # who connects before the first answer waits for it
    except (OSError, OverflowError) as error:
        raise UsageError(f"Nothing can listen at {host}, port {port}: {error}. Choose another --port.") from None
    return listening
