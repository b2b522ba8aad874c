// verifier.onnx with the page's key: judges answers of a host that is not trusted.

import * as ort from "./ort/ort.wasm.bundle.min.mjs";
import { fits, readAnswer } from "./answer.js";
import { drawKey } from "./key.js";
import { loadContract, loadFile } from "./exported.js";
import { Refusal } from "./refusal.js";

// One thread: a check takes less time than waking others.
ort.env.wasm.numThreads = 1;
// The console stays empty: what goes wrong is said on the page.
const QUIET = { logSeverityLevel: 4 };

/** How ONNX Runtime calls the types of an answer. */
const TYPES = { F32: "float32", I32: "int32", I64: "int64", U8: "uint8" };

export class Verifier {
  /** How many keys were drawn, and how long the last took, in ms. */
  keys = 0;
  keyMs = 0;
  #key = null;

  /** Loads what was exported and draws a key. `shape`: that of the input that will be asked about. */
  static async load(shape) {
    const verifier = new Verifier();
    verifier.contract = await loadContract();
    verifier.session = await openSession(verifier.contract, "verifier.onnx");
    verifier.keySession = await openSession(verifier.contract, "key.onnx");
    verifier.#expect(shape);
    await verifier.drawKey();
    return verifier;
  }

  /** Do the files belong together, and does the model take what this page sends? */
  #expect(shape) {
    const { contract, session, keySession } = this;
    const { inputs, outputs, transcript, proofs, key } = contract;
    this.input = inputs[0];
    if (inputs.length !== 1 || this.input.dtype !== "f32" || !fits(shape, this.input.shape)) {
      throw new Refusal("other-model", `This page sends one f32 image of [${shape.join(", ")}], and the model takes something else`);
    }
    this.answer = [...outputs, ...transcript, ...proofs];
    const names = (tensors) => tensors.map(({ name }) => name);
    if (!sameNames(session.inputNames, names([this.input, ...this.answer, ...key]))) {
      throw new Refusal("other-model", "export.json and verifier.onnx do not have the same tensors");
    }
    if (!sameNames(keySession.outputNames, names(key)) || !sameNames(keySession.inputNames, names(contract.random))) {
      throw new Refusal("other-key", "key.onnx is of another model: its tensors are not those of export.json");
    }
  }

  /** Replaces the key. */
  async drawKey() {
    this.#key = null;
    const start = performance.now();
    this.#key = await drawKey(ort, this.keySession, this.contract.random);
    this.keyMs = performance.now() - start;
    this.keys += 1;
  }

  /** Whether there is a key to judge with. */
  get ready() {
    return this.#key !== null;
  }

  /**
   * Judges the answer in `bytes` to the input `values`. A Refusal if it is not an answer of this model;
   * otherwise what verifier.onnx found, operation by operation.
   *
   * Whatever is not accepted ends the key, before anybody hears of it: whether a forgery passes tells its
   * maker something about the key, and after enough of such answers it can forge. A key that was never
   * the reason of a refusal has told nothing (docs/GUARANTEES.md, section 4).
   */
  async check(values, shape, bytes) {
    if (!this.ready) throw new Error("it has no key");
    let report;
    try {
      report = await this.#judge(values, shape, bytes);
    } finally {
      // Without a new one the page is not `ready`; the refusal is said all the same.
      if (!report?.accepted) await this.drawKey().catch(() => {});
    }
    return report;
  }

  async #judge(values, shape, bytes) {
    const { tensors, metadata } = readAnswer(bytes, this.answer);
    const feeds = { ...this.#key };
    feeds[this.input.name] = new ort.Tensor("float32", values, shape);
    for (const [name, tensor] of tensors) feeds[name] = toOrt(tensor);
    const run = async () => {
      try {
        return await this.session.run(feeds, QUIET);
      } catch (error) {
        throw new Refusal("verifier-failed", `verifier.onnx could not be run on the answer: ${error.message}`);
      }
    };
    const found = await run();
    const flag = (name) => found[`nomopoly.${name}`].data[0] === 1;
    if (!flag("same_key")) throw new Refusal("other-key", "The key is of another model: key.onnx and verifier.onnx do not belong together");

    const scores = found["nomopoly.scores"].data;
    const residuals = found["nomopoly.residuals"].data;
    const { operations, outputs } = this.contract;
    if (scores.length !== operations.length || residuals.length !== operations.length) {
      throw new Refusal("other-model", "export.json and verifier.onnx do not have the same operations");
    }
    return {
      accepted: flag("verdict") && flag("same_model"),
      sameModel: flag("same_model"),
      sameShapes: flag("same_shapes"),
      operations: operations.map((operation, i) => ({
        ...operation,
        score: scores[i],
        residual: residuals[i],
        agrees: scores[i] >= 0.5,
      })),
      logits: tensors.get(outputs[0].name).data,
      inferenceMs: Number(metadata.inference_ms),
      ...(await medianTime(run)),
    };
  }
}

function sameNames(some, others) {
  return [...some].sort().join("\n") === [...others].sort().join("\n");
}

/** A tensor of an answer, as ONNX Runtime takes it. */
export function toOrt({ dtype, shape, data }) {
  return new ort.Tensor(TYPES[dtype], data, shape);
}

/** An exported file, found to be as it was exported and ready to run. */
export async function openSession(contract, name) {
  const bytes = await loadFile(contract, name);
  // Weights of more than 64 MiB lie in a file beside it. One that export.json does not name is not used.
  const path = `${name}.data`;
  const externalData = contract.files?.[path] ? [{ path, data: await loadFile(contract, path) }] : [];
  try {
    return await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], externalData });
  } catch (error) {
    throw new Refusal("unreadable", `${name} cannot be loaded: ${error.message}`);
  }
}

/** The median of up to 21 runs, in ms: the first ones warm up, and single ones are noisy. */
async function medianTime(run) {
  const times = [];
  const begin = performance.now();
  while (times.length < 21 && performance.now() - begin < 250) {
    const start = performance.now();
    await run();
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  return { checkMs: times[times.length >> 1], runs: times.length };
}
