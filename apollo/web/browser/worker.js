// Runs the network over one channel of one chunk at a time, beside the page, which stays alive meanwhile.
import * as ort from "./ort/ort.js";

ort.env.wasm.numThreads = 1; // more need headers that most hosts of static files do not send
ort.env.wasm.wasmPaths = { wasm: new URL("ort/ort.wasm", import.meta.url).href };

let session = null;

onmessage = async ({ data: { network, waveform, fill } }) => {
  try {
    if (network) {
      session = ort.InferenceSession.create(network, { executionProviders: ["wasm"] });
      return;
    }
    const loaded = await session;
    const feeds = { waveform: new ort.Tensor("float32", waveform, [1, 1, waveform.length]) };
    if (loaded.inputNames.includes("fill")) feeds.fill = new ort.Tensor("float32", [fill], []);
    const { restored } = await loaded.run(feeds);
    const samples = new Float32Array(restored.data);
    restored.dispose();
    postMessage({ samples }, [samples.buffer]);
  } catch (error) {
    postMessage({ error: String(error) });
  }
};
