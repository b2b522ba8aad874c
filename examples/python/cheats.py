"""Tries an honest host and many that cheat on one exported model: what client.py and `cargo nomopoly verify` say.

python cheats.py WORK NAME COMMAND...

WORK holds NAME.onnx, NAME.npz, the folder NAME of its export and ops; COMMAND is how `cargo nomopoly` is called. Every
answer comes over a socket to a client process. Exits with 1 if an honest answer is refused, or a dishonest one is
accepted or not named.
"""

import io
import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import key
import numpy as np
import onnx
import onnxruntime

onnxruntime.set_default_logger_severity(3)  # errors only
here = pathlib.Path(__file__).parent
work, name, command = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
model, folder, scratch = work / f"{name}.onnx", work / name, work / f"{name}-cheats"
shutil.rmtree(scratch, ignore_errors=True)
scratch.mkdir()
given = dict(np.load(work / f"{name}.npz"))
tried = failures = 0


def rows(first, count):
    return {tensor: array[first : first + count] for tensor, array in given.items()}


def infer(prover, inputs):
    session = onnxruntime.InferenceSession(prover)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs)))


def changed(source, target):
    """Copies an ONNX file with 1 % of noise on the largest weights of the model."""
    floats = [w for w in onnx.load(model).graph.initializer if w.data_type == onnx.TensorProto.FLOAT]
    largest = max(floats, key=lambda w: np.prod(w.dims)).name
    file = onnx.load(source)
    weights = next(w for w in file.graph.initializer if w.name == largest)
    array = onnx.numpy_helper.to_array(weights)
    noise = np.random.default_rng(0).normal(0, 0.01 * array.std(), array.shape)
    weights.CopyFrom(onnx.numpy_helper.from_array((array + noise).astype(np.float32), largest))
    onnx.save(file, target)
    return target


def nomopoly(*arguments):
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True)


def client(url, inputs, folder=folder, secret=None):
    """Whether client.py accepts, and what it says."""
    np.savez(scratch / "in.npz", **inputs)
    arguments = [folder, scratch / "in.npz", url]
    if secret:
        np.savez(scratch / "key.npz", **secret)
        arguments.append(scratch / "key.npz")
    done = subprocess.run([sys.executable, here / "client.py", *arguments], capture_output=True, text=True)
    return done.returncode == 0, done.stdout if done.returncode == 0 else done.stderr


def rust(inputs, sent):
    """Whether `cargo nomopoly verify` accepts the same tensors, and what it says."""
    np.savez(scratch / "in.npz", **inputs)
    np.savez(scratch / "sent.npz", **sent)
    files = ["--inputs", scratch / "in.npz", "--proof", scratch / "sent.npz", "--registry", work / "ops"]
    done = nomopoly("verify", model, *files)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    return done.returncode == 0, done.stderr + done.stdout


def line(case, right, *said):
    global failures
    failures += not right
    verdicts = [re.sub(r"(?s)^.*?(?=REFUSED|ACCEPTED|REJECTED|error:)", "", text) for text in said]
    short = "  |  ".join(" ".join(text.split())[:100] for text in verdicts)
    print(f"{'ok ' if right else 'BAD'}  {case:44}  {short}", flush=True)


class Dishonest(BaseHTTPRequestHandler):
    """Answers whatever it is asked with `reply`."""

    reply = b""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.reply)

    def log_message(self, *_):
        pass


dishonest = HTTPServer(("127.0.0.1", 0), Dishonest)
threading.Thread(target=dishonest.serve_forever, daemon=True).start()


def refused(case, sent, names, in_rust=None, inputs=None, **options):
    """A case that has to be refused with words that match `names`: by the client, and in Rust with `in_rust`."""
    global tried
    tried += 1
    inputs = inputs or rows(0, 2)
    if isinstance(sent, dict):
        file = io.BytesIO()
        np.savez(file, **sent)
        Dishonest.reply = file.getvalue()
    else:
        Dishonest.reply = sent
    accepted, said = client(f"http://127.0.0.1:{dishonest.server_port}", inputs, **options)
    right = not accepted and "REFUSED" in said and re.search(names, said)
    if in_rust is None:
        return line(case, right, said)
    accepted_in_rust, said_in_rust = rust(inputs, sent)
    right = right and not accepted_in_rust and re.search(in_rust, said_in_rust)
    line(case, right, said, said_in_rust)


export = json.loads((folder / "export.json").read_text())
output = export["outputs"][0]["name"]
revealed = (export["transcript"] or export["outputs"])[0]["name"]
proof = export["proofs"][0]["name"]
# Where a tensor of another size is met: all shapes are compared, but ONNX Runtime may fail before that, in a node
# that reads it.
misshapen = r"not have the shapes|Name:\\?'.+?'"

for file in ("prover.onnx", "verifier.onnx", "key.onnx"):
    try:
        onnx.checker.check_model(str(folder / file), full_check=True)
        line(f"onnx.checker: {file}", True)
    except onnx.checker.ValidationError as error:
        line(f"onnx.checker: {file}", False, str(error))

# The honest host: host.py, as it is.
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
command_line = [sys.executable, here / "host.py", folder / "prover.onnx", str(port)]
host = subprocess.Popen(command_line, stderr=subprocess.DEVNULL)
try:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except ConnectionRefusedError:
            if host.poll() is not None:
                sys.exit("host.py does not start")
            time.sleep(0.1)
    url = f"http://127.0.0.1:{port}"
    drawn = nomopoly("key", model, "--out", scratch / "rust.npz", "--registry", work / "ops")
    runs = [client(url, rows(i, 1)) for i in range(20)]
    line(f"honest: {sum(ok for ok, _ in runs)} of {len(runs)} samples", all(ok for ok, _ in runs), min(runs)[1])
    accepted, said = client(url, given)
    line(f"honest: {len(next(iter(given.values())))} samples at once", accepted, said)
    accepted, said = client(url, rows(0, 1), secret=dict(np.load(scratch / "rust.npz")))
    line("honest: a key that Rust drew", accepted, said)
finally:
    host.kill()
for count in (1, 2, len(next(iter(given.values())))):
    accepted, said = rust(rows(0, count), infer(folder / "prover.onnx", rows(0, count)))
    line(f"honest: `verify` of {count} samples of ONNX Runtime", accepted, said)

# Hosts that run something else.
honest, other = infer(folder / "prover.onnx", rows(0, 2)), infer(folder / "prover.onnx", rows(2, 2))
noisy = infer(changed(folder / "prover.onnx", scratch / "prover.onnx"), rows(0, 2))
refused("weights changed by 1 %", noisy, "scores", "REJECTED")
refused("another input", other, "scores", "REJECTED")
first = re.escape(next(iter(given)))
along = other | rows(2, 2)
refused("another input, which is sent along", along, f"{first} is not asked for", f"`{first}` is no tensor of a proof")

# Another version of the model, compiled and exported like the first.
second = changed(model, scratch / "second.onnx")
for arguments in (["compile", second], ["export", second, "--out", scratch / "second"]):
    done = nomopoly(*arguments, "--registry", work / "ops")
    if done.returncode:
        sys.exit(done.stderr)
version = infer(scratch / "second/prover.onnx", rows(0, 2))
identity = {"nomopoly.identity": honest["nomopoly.identity"]}
refused("another version of the model", version, "proof is of another model", "another model")
refused("another version that says it is this one", version | identity, "scores", "REJECTED")

# Tensors changed on the way: one number, by 1 % of the tensor's norm (a label by 1).
bumped = {name: honest[name].copy() for name in (output, revealed)}
for tensor in bumped.values():
    tensor.flat[0] += 0.01 * np.linalg.norm(tensor) if tensor.dtype == np.float32 else 1
refused("output changed by 1 %", honest | {output: bumped[output]}, re.escape(output) + ".* scores", "REJECTED")
changes = honest | {revealed: bumped[revealed]}
refused("transcript changed by 1 %", changes, re.escape(revealed) + ".* scores", "REJECTED")
refused("proof of another input", honest | {proof: other[proof]}, "scores", "REJECTED")
for title, value in (("NaN", np.nan), ("infinity", np.inf)):
    tensor = bumped[revealed].copy()
    tensor.flat[0] = value
    changes = honest | {revealed: tensor}
    refused(f"{title} in the transcript", changes, f"{re.escape(revealed)} is not finite", re.escape(revealed))
floats = [name for name in honest if honest[name].dtype == np.float32]
refused("NaN everywhere", honest | {name: honest[name] * np.nan for name in floats}, "is not finite", "not finite")
refused("zeros everywhere", honest | {name: honest[name] * 0 for name in floats}, "scores", "REJECTED")
huge = honest | {name: honest[name] * np.float32(1e30) for name in floats}
refused("everything too large", huge, "scores", "REJECTED")

# Tensors that are not what was asked for.
for tensor in dict.fromkeys((output, revealed, proof, "nomopoly.identity")):
    rest = {name: array for name, array in honest.items() if name != tensor}
    refused(f"missing: {tensor}", rest, re.escape(tensor) + " is missing", re.escape(tensor) + ".* is missing")
    renamed = rest | {"renamed": honest[tensor]}
    refused(f"renamed: {tensor}", renamed, re.escape(tensor) + " is missing.*renamed is not", re.escape(tensor))
refused("one more tensor", honest | {"more": honest[proof]}, "more is not asked for", "more")
flat = honest | {revealed: honest[revealed].ravel()}
refused("shape: a flat transcript", flat, re.escape(revealed) + " has shape", re.escape(revealed))
refused("shape: one answer for two inputs", honest | {output: honest[output][:1]}, misshapen, re.escape(output))
twice = {name: np.concatenate([array, array]) for name, array in rows(0, 1).items()}
one = infer(folder / "prover.onnx", rows(0, 1))
refused("shape: one row of all for two equal inputs", one, misshapen, "shape", inputs=twice)
two = infer(folder / "prover.onnx", twice)
refused("shape: two rows of all for one input", two, misshapen, "shape", inputs=rows(0, 1))
refused("shape: no rows", honest | {revealed: honest[revealed][:0]}, misshapen, re.escape(revealed))
for dtype in (np.float64, np.float16, np.int32):
    array = honest[revealed].astype(dtype)
    words = f"{re.escape(revealed)} is of {array.dtype}"
    refused(f"type: {array.dtype}", honest | {revealed: array}, words, re.escape(revealed))
refused("type: pickled objects", honest | {revealed: honest[revealed].astype(object)}, "allow_pickle")
refused("not an archive", b"PK\3\4", "zip")
array = io.BytesIO()
np.save(array, honest[revealed])
refused("one array, without an archive", array.getvalue(), "is one array")
words = "x\nACCEPTED \x1b[8m"
refused("words for the terminal in a name", honest | {words: honest[proof]}, r"x\\nACCEPTED \\x1b\[8m is not asked for")

# Keys, and files that are not what was exported.
second_export = json.loads((scratch / "second/export.json").read_text())
second_key = key.draw(scratch / "second", second_export)
refused("key of another model", honest, "key is of another model|nomopoly.key/", secret=second_key)
keys = key.draw(folder, export)
vectors = next(name for name in keys if "vectors" in name)
more = f"{re.escape(vectors)} is not asked for"
refused("key tensor from the host", honest | {vectors: keys[vectors]}, more, secret=keys)
rest = {name: array for name, array in keys.items() if name != vectors}
refused("key with a tensor missing", honest, f"key.npz: {re.escape(vectors)} is missing", secret=rest)
part = keys[vectors]
for title, array in (("NaN", part * np.nan), ("float64", part.astype(float)), ("flat", part.ravel())):
    refused(f"key with a tensor that is {title}", honest, re.escape(vectors), secret=keys | {vectors: array})
for file in ("verifier.onnx", "key.onnx"):
    edited = shutil.copytree(folder, scratch / f"edited-{file}")
    proto = onnx.load(edited / file)
    proto.doc_string += "edited"
    onnx.save(proto, edited / file)
    refused(f"{file} edited", honest, f"{file} is not the file", folder=edited)
for schema in (export["schema"] - 1, export["schema"] + 1):
    other_schema = shutil.copytree(folder, scratch / f"schema-{schema}")
    (other_schema / "export.json").write_text(json.dumps(export | {"schema": schema}))
    refused(f"export.json of schema {schema}", honest, f"has schema {schema}", folder=other_schema)

# One file with a key of its own inside.
done = nomopoly("export", model, "--out", scratch / "baked", "--bake-key", "--registry", work / "ops")
if done.returncode:
    sys.exit(done.stderr)
file = io.BytesIO()
np.savez(file, **honest)
Dishonest.reply = file.getvalue()
accepted, said = client(f"http://127.0.0.1:{dishonest.server_port}", rows(0, 2), folder=scratch / "baked")
line("honest: a verifier with a baked key", accepted, said)
changes = honest | {revealed: bumped[revealed]}
refused("transcript changed, for a baked key", changes, re.escape(revealed) + ".* scores", folder=scratch / "baked")

print(f"{name}: {tried} ways to cheat, {failures} lines that are not as they should be")
sys.exit(failures > 0)
