"""A client: asks a host for an inference and checks the answer. FOLDER is what `cargo nomopoly export`
wrote; it comes with the client, never from the host.

python client.py FOLDER INPUTS.npz http://HOST:PORT [KEY.npz of `cargo nomopoly key`]
"""

import io
import pathlib
import sys
import urllib.request

import exported
import key
import numpy as np
from onnxruntime import InferenceSession

try:
    folder = pathlib.Path(sys.argv[1])
    export = exported.contract(folder)
    secret = exported.read(sys.argv[4], export["key"]) if sys.argv[4:] else key.draw(folder, export)
    inputs = exported.read(sys.argv[2], export["inputs"])
    asked = io.BytesIO()
    np.savez(asked, **inputs)
    reply = urllib.request.urlopen(sys.argv[3], asked.getvalue(), timeout=60).read()
    sent = exported.read(io.BytesIO(reply), exported.claims(export))

    verifier = InferenceSession(folder / "verifier.onnx")
    verdict, *found = verifier.run(exported.RESULTS, sent | inputs | secret)
    if not verdict:
        raise ValueError(exported.reasons(export, *found))
except Exception as error:  # no answer, or one that is not what this model gives
    sys.exit(f"REFUSED: {error}")
print("ACCEPTED", {tensor["name"]: sent[tensor["name"]].tolist() for tensor in export["outputs"]})
