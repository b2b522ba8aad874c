"""Times inferences in ONNX Runtime when it is told to, so that they can be taken by turns.

    python -c SCRIPT MODEL INPUT OUTPUT LEAST

INPUT holds the elements of the model's one f32 input, little-endian, in row-major order; those of
its first output are written to OUTPUT. Then the version is printed and, for each line that comes
in, the seconds of an inference: the mean of as many in a row as span LEAST seconds.
"""

import sys
import time

try:
    import numpy as np
    import onnxruntime
except ImportError as missing:
    sys.exit(str(missing))

model, input_file, output_file, least = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
options.log_severity_level = 3
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
source = session.get_inputs()[0]
# A dimension with a name is the batch: one sample.
shape = [dim if isinstance(dim, int) else 1 for dim in source.shape]
feed = {source.name: np.fromfile(input_file, "<f4").reshape(shape)}
session.run(None, feed)[0].astype("<f4").tofile(output_file)
print(onnxruntime.__version__, flush=True)

for _ in sys.stdin:
    total, calls = 0.0, 0
    while calls == 0 or total < float(least):
        start = time.perf_counter()
        result = session.run(None, feed)
        total += time.perf_counter() - start
        del result
        calls += 1
    print(total / calls, flush=True)
