"""An HTTP proxy before an S3 server that spoils answers on demand, and remembers what passed."""

import contextlib
import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Fault = Literal["slow_down", "reset", "slow", "truncated", "forbidden"]

REFUSALS = {
    "slow_down": (503, "SlowDown", "Please reduce your request rate."),
    "forbidden": (403, "AccessDenied", "Access Denied"),
}
CHUNK_BYTES = 1 << 15


class FaultProxy:
    """Forwards to ``upstream``; ``fault`` strikes the given ``share`` of requests while it is set."""

    def __init__(self, upstream: tuple[str, int], *, delay_s: float = 0.0) -> None:
        self.upstream = upstream
        self.delay_s = delay_s
        """Time that every request takes at least, so that a small archive is not over before anything can strike."""
        self.fault: Fault | None = None
        self.share = 0.0
        self.struck: Counter[str] = Counter()
        """Requests spoiled, by fault."""
        self.written: Counter[str] = Counter()
        """Objects by how often they were stored."""
        self._dice, self._lock = random.Random(0), threading.Lock()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def strikes(self) -> Fault | None:
        """The fault for one request, or None."""
        with self._lock:
            if self.fault is None or self._dice.random() >= self.share:
                return None
            self.struck[self.fault] += 1
            return self.fault

    def calm(self) -> None:
        """No more faults; what was written is forgotten."""
        self.fault, self.share = None, 0.0
        self.struck.clear()
        self.written.clear()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultProxy

    def _forward(self) -> None:
        body = self._body()
        fault = self.owner.strikes()
        if fault in REFUSALS:
            self._refuse(*REFUSALS[fault])
            return
        if fault == "reset":
            self._hang_up()
            return
        time.sleep(self.owner.delay_s)
        upstream = http.client.HTTPConnection(*self.owner.upstream, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
            upstream.request(self.command, self.path, body=body, headers=headers)
            answer = upstream.getresponse()
            data = answer.read()
        finally:
            upstream.close()
        if self.command == "PUT" and answer.status == 200:
            self.owner.written[self.path.partition("?")[0]] += 1
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("content-length") if self.command == "HEAD" else str(len(data))
        self.send_header("content-length", length or "0")
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "truncated" and len(data) > 1:
            self.wfile.write(data[: len(data) // 2])
            self._hang_up()
            return
        for start in range(0, len(data), CHUNK_BYTES):
            if fault == "slow":
                time.sleep(0.3)
            self.wfile.write(data[start : start + CHUNK_BYTES])

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _forward  # noqa: N815

    def _body(self) -> bytes | None:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        length = int(self.headers.get("content-length") or 0)
        return self.rfile.read(length) if length else None

    def _refuse(self, status: int, code: str, message: str) -> None:
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        self.send_response(status)
        self.send_header("content-type", "application/xml")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _hang_up(self) -> None:
        """Close with a reset, in the middle of whatever the other side expects."""
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        self.close_connection = True

    def handle_one_request(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().handle_one_request()
            return
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass
