export type PhotonArray =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | Float32Array
  | Float64Array;

/** All samples of a chunk, in C order. */
export interface PhotonChunk {
  data: PhotonArray;
  /** Of the chunk: frames first. */
  shape: number[];
  /** Frames present; the rest of the chunk is zeros. */
  frames: number;
}

export class PhotonError extends Error {}

export class Photon {
  /** Open a chunk file, which is a Blosc frame of zstd, to its payload. */
  openFrame(frame: Uint8Array): Uint8Array;
  /** Decode a payload or a chunk file: counts in their dtype, or stabilized values as Float64Array. */
  decode(chunk: Uint8Array, options?: { stabilized?: boolean; channelAxis?: number }): PhotonChunk;
}

/** Compile photon.wasm: from bytes, a Response, a URL, or the file beside the module. */
export function loadPhoton(source?: BufferSource | Response | URL): Promise<Photon>;

/**
 * A codec class for the registry of zarrita: `"photon_gpu.photon"` of OME-Zarr, `"numcodecs.photon"` of folders.
 * `photon` may decode elsewhere, such as in a worker, and return a promise.
 */
export function zarritaCodec(photon: {
  decode(chunk: Uint8Array, options: { channelAxis?: number }): PhotonChunk | Promise<PhotonChunk>;
}): {
  /** The entry of `filters` in `.zarray`; of its keys, `channel_axis` is read. */
  fromConfig(configuration?: unknown): {
    kind: "array_to_bytes";
    encode(): never;
    decode(bytes: Uint8Array): Promise<{ data: PhotonArray; shape: number[]; stride: number[] }>;
  };
};
