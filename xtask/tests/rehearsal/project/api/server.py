"""A server that is well."""

import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

GREETING = "hello"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(GREETING.encode())


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    HTTPServer(("", 8000), Handler).serve_forever()
