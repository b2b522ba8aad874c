// Is what a host sent an answer at all? Found out before verifier.onnx sees it, and without the key.

import { decode } from "./safetensors.js";
import { Refusal } from "./refusal.js";

/**
 * The tensors in `bytes`, by name: exactly those of `expected`, `[{name, dtype, shape}]` as in export.json,
 * all numbers finite. An extent of null is open: whether it is the right one is for verifier.onnx to say.
 */
export function readAnswer(bytes, expected) {
  const { tensors, metadata } = decode(bytes);
  const known = expected.map(({ name }) => name);
  const unknown = [...tensors.keys()].filter((name) => !known.includes(name)).join(", ");
  const lacking = known.filter((name) => !tensors.has(name)).join(", ");
  if (lacking) {
    const instead = unknown && ` (and holds ${unknown}, which this model does not have)`;
    throw new Refusal("missing-tensor", `The answer lacks ${lacking}${instead}`);
  }
  if (unknown) throw new Refusal("unexpected-tensor", `The answer holds ${unknown}, which this model does not have`);
  for (const { name, dtype, shape } of expected) {
    const got = tensors.get(name);
    const type = got.dtype.toLowerCase();
    if (type !== dtype) throw new Refusal("wrong-type", `${name} is ${type}, expected ${dtype}`);
    if (!fits(got.shape, shape)) {
      const wanted = shape.map((extent) => extent ?? "any");
      throw new Refusal("wrong-shape", `${name} is [${got.shape.join(", ")}], expected [${wanted.join(", ")}]`);
    }
    // Those of i64 are of another type, bigint, and always finite.
    const odd = got.data.find((value) => typeof value === "number" && !Number.isFinite(value));
    if (odd !== undefined) throw new Refusal("not-finite", `${name} holds a value that is no number (${odd})`);
  }
  return { tensors, metadata };
}

/** Whether a tensor of the shape `got` may stand where export.json says `shape`. */
export function fits(got, shape) {
  return got.length === shape?.length && shape.every((extent, i) => extent === null || extent === got[i]);
}
