// Times a model and the check of its answer, by turns. bench_page.py serves this and calls it.

import * as ort from "./ort/ort.wasm.bundle.min.mjs";
import { loadContract } from "./exported.js";
import { drawKey } from "./key.js";
import { decode } from "./safetensors.js";
import { openSession, toOrt } from "./verifier.js"; // which also sets ONNX Runtime to one thread

// Browsers make code faster while it runs: what small models take halves during the first thousand runs.
const WARM_UP = { runs: 3, ms: 2000 };

/** Times of `runs` runs of each in ms, and what verifier.onnx says. `beside`: files with the model's weights. */
export async function bench(runs, beside) {
  const contract = await loadContract();
  const keys = await openSession(contract, "key.onnx");
  const feeds = await drawKey(ort, keys, contract.random);
  await keys.release();
  const response = await fetch("proof");
  const { tensors } = decode(new Uint8Array(await response.arrayBuffer()));
  for (const [name, tensor] of tensors) feeds[name] = toOrt(tensor);

  const externalData = beside.map((path) => ({ path, data: `model/${path}` }));
  const model = await ort.InferenceSession.create("model/model.onnx", { executionProviders: ["wasm"], externalData });
  const verifier = await openSession(contract, "verifier.onnx");
  const only = (names) => Object.fromEntries(names.map((name) => [name, feeds[name]]));
  const both = [
    { session: model, feeds: only(model.inputNames), times: [] },
    { session: verifier, feeds: only(verifier.inputNames), times: [] },
  ];
  let found;
  const turns = async () => {
    for (const { session, feeds, times } of both) {
      const start = performance.now();
      found = await session.run(feeds);
      times.push(performance.now() - start);
    }
  };
  const begin = performance.now();
  for (let run = 0; run < WARM_UP.runs || performance.now() - begin < WARM_UP.ms; run++) await turns();
  for (const { times } of both) times.length = 0;
  for (let run = 0; run < runs; run++) await turns();
  const scores = found["nomopoly.scores"].data;
  return {
    model: both[0].times,
    verifier: both[1].times,
    accepted: found["nomopoly.verdict"].data[0] === 1,
    refused: contract.operations.filter((_, i) => !(scores[i] >= 0.5)).map(({ name }) => name),
    runtime: ort.env.versions.web,
  };
}
