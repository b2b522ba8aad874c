"""A client: asks a host for an inference and checks the answer. FOLDER is what `cargo nomopoly export`
wrote; it comes with the client, never from the host.

python client.py FOLDER INPUTS.npz http://HOST:PORT [KEY.npz of `cargo nomopoly key`]
"""

import hashlib
import io
import json
import pathlib
import sys
import urllib.request

import key
import numpy as np
from onnxruntime import InferenceSession

folder = pathlib.Path(sys.argv[1])
export = json.loads((folder / "export.json").read_text())
for name, file in export["files"].items():
    if not name.startswith("prover") and hashlib.sha256((folder / name).read_bytes()).hexdigest() != file["sha256"]:
        sys.exit(f"REFUSED: {name} is not the file that was exported")
secret = dict(np.load(sys.argv[4], allow_pickle=False)) if sys.argv[4:] else key.draw(folder, export)
given = np.load(sys.argv[2], allow_pickle=False)
inputs = {tensor["name"]: given[tensor["name"]] for tensor in export["inputs"]}

verifier = InferenceSession(folder / "verifier.onnx")
# What the host may say: all that the verifier asks for, but never the inputs and never the key.
claims = [t.name for t in verifier.get_inputs() if t.name not in inputs and not t.name.startswith("nomopoly.key/")]
results = ["nomopoly." + result for result in ("verdict", "same_key", "same_model", "scores")]
try:
    asked = io.BytesIO()
    np.savez(asked, **inputs)
    reply = urllib.request.urlopen(sys.argv[3], asked.getvalue(), timeout=60).read()
    sent = np.load(io.BytesIO(reply), allow_pickle=False)  # a pickle from outside could run code here
    sent = {name: sent[name] for name in claims}
    verdict, same_key, same_model, scores = verifier.run(results, sent | inputs | secret)
except Exception as error:  # no answer, a tensor that is missing, a shape or a type that the verifier does not take
    sys.exit(f"REFUSED: {error}")

if not verdict:
    wrong = [] if same_key else ["the key is of another model"]
    wrong += [] if same_model else ["the proof is of another model"]
    wrong += [f"{name} is not finite" for name in claims if not np.isfinite(sent[name]).all()]
    wrong += [f"{op['name']} scores {score}" for op, score in zip(export["operations"], scores) if not score >= 0.5]
    sys.exit("REFUSED: " + ", ".join(wrong))
print("ACCEPTED", {tensor["name"]: sent[tensor["name"]].tolist() for tensor in export["outputs"]})
