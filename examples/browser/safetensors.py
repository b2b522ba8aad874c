"""Tensors as bytes, in the layout of safetensors: a length, a JSON header, raw values.

Only the types that outputs of models usually have. `page/safetensors.js` is the same for the page.
"""

import json

import numpy

CODES = {"F32": "<f4", "I32": "<i4", "I64": "<i8", "U8": "u1"}
DTYPES = {name: numpy.dtype(code) for name, code in CODES.items()}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def encode(tensors, metadata):
    """Bytes of `tensors`, a dict of arrays, and of `metadata`, a dict of strings."""
    header, parts, at = {"__metadata__": metadata}, [], 0
    for name, array in tensors.items():
        data = numpy.ascontiguousarray(array).tobytes()
        span = [at, at + len(data)]
        header[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape), "data_offsets": span}
        parts.append(data)
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def decode(data):
    """The dict of arrays and the metadata in `data`. Raises ValueError for anything else."""
    try:
        size = int.from_bytes(data[:8], "little")
        header, body, at = json.loads(data[8 : 8 + size]), data[8 + size :], 0
        metadata, tensors = header.pop("__metadata__", {}), {}
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            if start != at:
                raise ValueError(f"{name!r} does not begin where the tensor before it ends")
            array = numpy.frombuffer(body[start:end], DTYPES[entry["dtype"]])
            tensors[name], at = array.reshape([int(size) for size in entry["shape"]]), end
        if at != len(body):
            raise ValueError("bytes that belong to no tensor")
        return tensors, metadata
    except (AttributeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a header of tensors ({error!r})") from error
