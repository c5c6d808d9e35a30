"""A service in a process of its own, a controller that hears its callbacks, and the key and certificate that it signs with."""

import base64
import json
import logging
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from recbole_unlearn.arguments import OnceParser, settings_of
from recbole_unlearn.commands import serve
from recbole_unlearn.server.keys import new_key

DOMAIN = "forget.example.com"
COMMAND = [sys.executable, "-m", "recbole_unlearn", "serve"]
NICE = {"NO_PROXY": "*", "OMP_NUM_THREADS": "1"}
forking = multiprocessing.get_context("fork")
SECONDS = 300  # the longest wait for anything, on a machine that does other things


def copied(checkpoint, folder):
    """A copy of a checkpoint with its store; the store's folder."""
    shutil.copytree(Path(checkpoint).parent, folder, symlinks=True)
    return folder / f"{Path(checkpoint).stem}.store"


def until(condition, what):
    """What a condition gives, once it gives something true."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not in {SECONDS} s: {what}")


def write_certificate(folder, domain=DOMAIN, bits=2048, days=1):
    """The files of a key and of a certificate for a domain."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, domain)])
    start = datetime.now(timezone.utc) - timedelta(days=2)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=2 + days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(domain)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "signing.pem", folder / "certificate.pem"
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files[0].write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
    files[0].chmod(0o600)
    files[1].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return files


def check_signature(headers, body, certificate):
    """As a controller does it: the signature is that of the certificate over the body as it came."""
    key = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    signature = base64.b64decode(headers["X-OpenDSR-Signature"], validate=True)
    key.verify(signature, body, padding.PKCS1v15(), hashes.SHA256())  # raises if not
    assert headers["X-OpenDSR-Processor-Domain"] == DOMAIN


def parsed(*arguments):
    """A command's arguments."""
    parser = OnceParser(prog="serve", allow_abbrev=False)
    serve.add_arguments(parser)
    namespace, others = parser.parse_known_args(list(map(str, arguments)))
    namespace.settings = settings_of(others, [])
    return namespace


class Fork:
    """The command in a fork of this process, which has imported everything, with what the tests need of a Popen."""

    def __init__(self, arguments, log, limit):
        self._process = forking.Process(target=self._main, args=(arguments, log, limit))
        self._process.start()
        self.pid, self.kill, self.terminate = self._process.pid, self._process.kill, self._process.terminate

    def poll(self):
        return self._process.exitcode

    def wait(self, seconds=None):
        self._process.join(seconds)
        assert self._process.exitcode is not None, "it does not end"
        return self._process.exitcode

    @staticmethod
    def _main(arguments, log, limit):
        os.environ.update(NICE)
        for handler in list(logging.root.handlers):  # pytest's
            logging.root.removeHandler(handler)
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
        limit()
        sys.exit(serve.run(parsed(*arguments)))


class Service:
    """A running service.

    Args:
        folder: for its files: keys and log.
        store: to serve.
        options: of the command.
        environment: more variables; None forks, which starts sooner.
        limit: called in the new process first.
    """

    def __init__(self, folder, store, *options, environment=None, limit=lambda: None):
        self.folder, self.store = folder, store
        keys = folder / "keys"
        self.key = (folder / "key").read_text() if keys.exists() else new_key("shop", str(keys))
        (folder / "key").write_text(self.key)
        self.log_file = folder / "log"
        start = len(self.log())
        arguments = [f"--store={store}", f"--keys={keys}", "--port=0", *options]
        with open(self.log_file, "a") as log:
            if environment is None:
                self.process = Fork(arguments, log, limit)
            else:
                variables = {**os.environ, **NICE, **environment}
                self.process = subprocess.Popen([*COMMAND, *arguments], stdout=log, stderr=log, env=variables)
        self.url = until(lambda: self._url(start), "its address")
        self.client = httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=SECONDS, trust_env=False
        )
        until(self._answers, "an answer")

    def log(self):
        return self.log_file.read_text() if self.log_file.exists() else ""

    def _url(self, start):
        assert self.process.poll() is None, self.log()
        found = re.search(r"Serving .* on (http\S+)\n", self.log()[start:])
        return found and found[1]

    def _answers(self):
        try:
            return self.client.get("/health")
        except httpx.TransportError:
            return None

    def ready(self):
        until(lambda: self.client.get("/health").status_code == 200, "a loaded model")
        return self

    def post(self, request_id, *rows, **more):
        """Submit rows of (scope, user, item)."""
        rows = [{key: value for key, value in zip(("scope", "user", "item"), row) if value} for row in rows]
        return self.client.post("/requests", json={"request_id": request_id, "rows": rows, **more})

    def status(self, request_id):
        return self.client.get(f"/requests/{request_id}").json()["status"]

    def wait(self, request_id, state="completed"):
        until(lambda: self.status(request_id) == state, f"{request_id} {state}")

    def kill(self):
        """As the system does it when it is short of memory."""
        self.process.kill()
        self.process.wait()
        self.client.close()

    def stop(self, number=signal.SIGTERM):
        """Ask it to stop; its exit code."""
        self.client.close()
        os.kill(self.process.pid, number)
        return self.process.wait(SECONDS)


@contextmanager
def serving(*arguments, **options):
    """A service that ends with the block."""
    service = Service(*arguments, **options)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.kill()


@contextmanager
def controller(answers=()):
    """A controller on this machine: its address, and the callbacks it has heard, as (headers, body).

    Args:
        answers: its first status codes; later ones are 202.
    """
    heard, codes = [], list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append((self.headers, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(codes.pop(0) if codes else 202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}", heard
    finally:
        server.shutdown()
        server.server_close()


def states_of(heard, request_id):
    """The states that a controller has heard of, in order."""
    contents = [json.loads(body) for _, body in heard]
    return [content["request_status"] for content in contents if content["subject_request_id"] == request_id]
