"""Times a check beside the inference that it checks, in the system's Chromium without a window.

    examples/browser/setup.sh --test
    target/browser/venv/bin/python examples/browser/bench_page.py MODEL.onnx EXPORTED INPUTS.npz

MODEL.onnx and verifier.onnx run by turns in one page, in WebAssembly on one thread; a run includes that the
inputs are copied to where WebAssembly sees them. Where there is no Chromium nothing is timed, and that is
said; with REQUIRE_BROWSER=1 it is a failure.
"""

import argparse
import http.server
import pathlib
import statistics
import sys
import threading

import chromium
import host
import numpy
import onnx
import onnxruntime
import safetensors

RUN = "async ([runs, beside]) => (await import('./bench.js')).bench(runs, beside)"


class Handler(host.Handler):
    """Serves what host.py does, and what is measured."""

    def do_GET(self):
        if self.path not in self.server.more:
            return super().do_GET()
        content = self.server.more[self.path]
        body = content.read_bytes() if isinstance(content, pathlib.Path) else content
        suffix = pathlib.Path(self.path).suffix
        self.answer(200, host.TYPES.get(suffix, "application/octet-stream"), body)


def weights_beside(path):
    """The files that hold weights of the model at `path`, beside it."""
    tensors = onnx.load(path, load_external_data=False).graph.initializer
    entries = [entry for tensor in tensors for entry in tensor.external_data]
    return sorted({path.parent / entry.value for entry in entries if entry.key == "location"})


def size(path):
    return sum(file.stat().st_size for file in [path, *weights_beside(path)])


def one_sample(path, session):
    """The first sample in an .npz file of many, as `session` takes it."""
    arrays, feeds = numpy.load(path), {}
    for declared in session.get_inputs():
        if declared.name not in arrays:
            sys.exit(f"{path} has no array {declared.name}; it has {', '.join(arrays)}")
        array, shape = arrays[declared.name], declared.shape
        if array.ndim > len(shape):
            array = array[0]
        elif array.ndim:
            array = array[: shape[0] if isinstance(shape[0], int) else 1]
        feeds[declared.name] = numpy.ascontiguousarray(array)
    return feeds


def prove(exported, inputs):
    """Inputs and everything that prover.onnx gives for them, in safetensors layout."""
    prover = onnxruntime.InferenceSession(exported / "prover.onnx")
    feeds = one_sample(inputs, prover)
    names = [output.name for output in prover.get_outputs()]
    return safetensors.encode(feeds | dict(zip(names, prover.run(names, feeds))), {})


def measure(options):
    beside = weights_beside(options.model)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.exported = options.exported
    server.more = {
        "/bench.html": b"<!doctype html><title>Measurement</title>",
        "/bench.js": host.HERE / "bench.js",
        "/model/model.onnx": options.model,
        "/proof": prove(options.exported, options.inputs),
    }
    server.more |= {f"/model/{file.name}": file for file in beside}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with chromium.launch() as browser:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/bench.html")
        found = page.evaluate(RUN, [options.runs, [file.name for file in beside]])
        return found | {"browser": browser.version}


def main():
    parser = argparse.ArgumentParser(description="Times a check beside the inference that it checks.")
    parser.add_argument("model", type=pathlib.Path, help="the model that was exported")
    parser.add_argument("exported", type=pathlib.Path, help="folder with what the export wrote")
    parser.add_argument("inputs", type=pathlib.Path, help=".npz file, an array per input; of samples the first")
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    if (status := chromium.skip("the measurement was")) is not None:
        return status

    found = measure(options)
    if not found["accepted"]:
        # A refusal can take another way through verifier.onnx, and another time.
        sys.exit(f"nothing was timed: verifier.onnx refuses an honest proof ({', '.join(found['refused'])})")
    print(
        f"{options.model.name}: medians of {options.runs} runs by turns, one thread of WebAssembly "
        f"(Chromium {found['browser']}, onnxruntime-web {found['runtime']})"
    )
    plain = statistics.median(found["model"])
    for name, times in [("model", found["model"]), ("verifier.onnx", found["verifier"])]:
        median = statistics.median(times)
        spread = f"({min(times):.3f} to {max(times):.3f})"
        print(f"  {name:<13} {median:>10.3f} ms     {median / plain:>7.3f} of the model  {spread}")
    files = {name: size(options.exported / name) for name in ["prover.onnx", "verifier.onnx", "key.onnx"]}
    whole = size(options.model)
    for name, count in {"model": whole, **files}.items():
        print(f"  {name:<13} {count:>13,} bytes {count / whole:>8.3f} of the model")
    return 0


if __name__ == "__main__":
    sys.exit(main())
