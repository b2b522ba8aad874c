"""A host: answers an .npz of inputs with an .npz of everything that prover.onnx computes.

python host.py prover.onnx PORT
"""

import io
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import onnxruntime

model = onnxruntime.InferenceSession(sys.argv[1])  # as any host does, with prover.onnx in place of the model
names = [output.name for output in model.get_outputs()]


class Host(BaseHTTPRequestHandler):
    def do_POST(self):
        try:
            asked = io.BytesIO(self.rfile.read(int(self.headers["Content-Length"])))
            inputs = dict(np.load(asked, allow_pickle=False))  # a pickle from outside could run code here
            sent = io.BytesIO()
            np.savez(sent, **dict(zip(names, model.run(names, inputs))))
        except Exception as error:
            return self.send_error(400, ascii(error)[:200])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(sent.getvalue())


HTTPServer(("127.0.0.1", int(sys.argv[2])), Host).serve_forever()
