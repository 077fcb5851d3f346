// Decode chunks in a thread of its own, so that the page stays responsive.

import { loadPhoton } from "./photon.mjs";

const loading = loadPhoton();

self.onmessage = async ({ data: { id, bytes, options } }) => {
  try {
    const chunk = (await loading).decode(bytes, options);
    self.postMessage({ id, chunk }, [chunk.data.buffer]);
  } catch (error) {
    self.postMessage({ id, error: error.message });
  }
};
