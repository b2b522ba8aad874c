"""Serves the page, and runs prover.onnx for it: the host that the page does not trust.

One process plays two parts here. In life the page, verifier.onnx, key.onnx and export.json come from
your own server; only `/infer` is somebody else's.
"""

import argparse
import http.server
import json
import os
import pathlib
import sys
import time

import numpy
import safetensors
from cheats import CHEATS, Host

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILT = ROOT / "target/browser"
DIGITS = ROOT / "examples/digits/data"

# What the page gets of the exported files; many weights lie beside their model, in a file of their own.
EXPORTED_FILES = ["export.json", "verifier.onnx", "verifier.onnx.data", "key.onnx", "key.onnx.data"]

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".data": "application/octet-stream",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}

# Nothing from elsewhere, and WebAssembly allowed. The last two isolate the page, which gives it a clock
# of microseconds.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}

SHAPE = (1, 1, 8, 8)
MOST_BYTES = 4096  # of a request; an image with its header has about 400


class BadRequest(Exception):
    def __init__(self, status, reason, message):
        super().__init__(message)
        self.status, self.reason = status, reason


def read_request(body):
    """The image and the cheat's name in the body of a request to `/infer`."""
    try:
        tensors, metadata = safetensors.decode(body)
    except ValueError as error:
        raise BadRequest(400, "unreadable", f"the request is not in safetensors layout: {error}") from error
    cheat = metadata.get("cheat", "honest") if isinstance(metadata, dict) else None
    if cheat not in list(CHEATS):
        raise BadRequest(400, "unknown_cheat", f"cheat must be one of {', '.join(CHEATS)}")
    if list(tensors) != ["image"]:
        raise BadRequest(400, "wrong_tensors", f"expected one tensor, image; got {list(tensors)}")
    image = tensors["image"]
    if image.dtype != numpy.float32 or image.shape != SHAPE:
        raise BadRequest(400, "wrong_shape", f"image must be F32 {list(SHAPE)}; got {list(image.shape)}")
    if not (numpy.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise BadRequest(400, "out_of_range", "image must hold numbers from 0 to 1")
    return image, cheat


def samples():
    """Forty images that the model was not trained on, four of each digit in turn, as JSON."""
    images = numpy.load(DIGITS / "test_images.npy").reshape(-1, 64)
    labels = numpy.load(DIGITS / "test_labels.npy")
    of_digit = [numpy.flatnonzero(labels == digit)[:4] for digit in range(10)]
    chosen = [int(of_digit[digit][turn]) for turn in range(4) for digit in range(10)]
    return [{"index": i, "label": int(labels[i]), "levels": images[i].tolist()} for i in chosen]


def file_of(path, exported):
    """The file that is served at `path`, if any. The folders are flat: no path leads out of them."""
    path = "/index.html" if path == "/" else path
    folder, _, name = path[1:].rpartition("/")
    if folder == "exported" and name not in EXPORTED_FILES:
        return None
    folders = {"": HERE / "page", "ort": BUILT / "ort", "exported": exported}
    if folder not in folders or pathlib.Path(name).suffix not in TYPES:
        return None
    file = folders[folder] / name
    return file if file.is_file() else None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20  # seconds that a connection may stay silent
    wbufsize = -1  # headers and body leave in one piece
    disable_nagle_algorithm = True

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/samples.json":
            return self.answer(200, "application/json", json.dumps(self.server.samples).encode())
        file = file_of(path, self.server.exported)
        if file is None:
            return self.fail(BadRequest(404, "not_found", f"there is nothing at {path}"))
        self.answer(200, TYPES[file.suffix], file.read_bytes())

    def do_POST(self):
        try:
            image, cheat = read_request(self.body())
            start = time.perf_counter()
            outputs = self.server.host.infer(image, cheat)
            took = f"{(time.perf_counter() - start) * 1e3:.3f}"
            self.answer(200, TYPES[".onnx"], safetensors.encode(outputs, {"inference_ms": took}))
        except BadRequest as error:
            self.fail(error)

    def body(self):
        """The body of a request, if it is for `/infer` and not too long."""
        # What is not read here would be taken for the next request.
        self.close_connection = True
        if self.path != "/infer":
            raise BadRequest(404, "not_found", f"there is nothing at {self.path}")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise BadRequest(411, "no_length", "a request needs a Content-Length")
        if len(length) > 9 or int(length) > MOST_BYTES:
            raise BadRequest(413, "too_large", f"a request has at most {MOST_BYTES} bytes")
        body = self.rfile.read(int(length))
        if len(body) != int(length):
            raise BadRequest(400, "unreadable", "the request ended early")
        self.close_connection = self.headers.get("Connection", "").lower() == "close"
        return body

    def fail(self, error):
        text = json.dumps({"error": error.reason, "message": str(error)})
        self.answer(error.status, "application/json", text.encode())

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass  # the page says what happens


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port, exported):
        self.exported = pathlib.Path(exported)
        self.samples = samples()
        seen = [numpy.array(self.samples[i]["levels"], numpy.float32).reshape(SHAPE) / 16 for i in (3, 4)]
        self.host = Host(self.exported, seen)
        # This machine only: nobody else needs it, and browsers give localhost a secure context.
        super().__init__(("127.0.0.1", port), Handler)

    def handle_error(self, *_):
        # A browser that closes its connection early is no news; everything else is.
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(*_)


def main():
    parser = argparse.ArgumentParser(description="Serves the page and runs prover.onnx for it.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--exported", default=os.environ.get("NOMOPOLY_EXPORTED", BUILT / "digits"))
    options = parser.parse_args()
    needed = [BUILT / "ort/ort.wasm.bundle.min.mjs"]
    needed += [pathlib.Path(options.exported, name) for name in ("prover.onnx", "export.json")]
    missing = [str(path) for path in needed if not path.is_file()]
    if missing:
        sys.exit(f"not there: {', '.join(missing)}. Run examples/browser/setup.sh first.")
    server = Server(options.port, options.exported)
    print(f"listening at http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
