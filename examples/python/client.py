"""A client: asks a host for an inference and checks the answer. FOLDER is what `cargo nomopoly export`
wrote; it comes with the client, never from the host.

python client.py FOLDER INPUTS.npz http://HOST:PORT [KEY.npz]

KEY.npz is what `cargo nomopoly key` drew, to be drawn anew after a refusal; without it a key is drawn for this call.
"""

import io
import pathlib
import sys
import urllib.request

import exported
import key
import numpy as np
from onnxruntime import InferenceSession

if len(sys.argv) < 4:
    sys.exit(__doc__)
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
except Exception as error:  # no answer, or one that is not what this model gives; its words may be the host's
    sys.exit(f"REFUSED: {ascii(str(error))[1:-1]}")
print("ACCEPTED", {tensor["name"]: sent[tensor["name"]].tolist() for tensor in export["outputs"]})
