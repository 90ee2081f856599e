// Reads the binary messages of the server; roadseg/live/web/message.py describes the layout.

export const STATES = ["connecting", "live", "stalled", "lost", "waiting"];
const HEADER_BYTES = 64;

/** The header, and where the two parts lie. Throws on anything else. */
export function readHeader(buffer) {
  const view = new DataView(buffer);
  if (view.byteLength < HEADER_BYTES || view.getUint16(0) !== 0x5253 || view.getUint8(2) !== 1) {
    throw new Error("not a frame of this version");
  }
  const u16 = (at) => view.getUint16(at, true);
  const f64 = (at) => view.getFloat64(at, true);
  const jpegBytes = view.getUint32(52, true);
  const labelBytes = view.getUint32(56, true);
  if (view.byteLength !== HEADER_BYTES + jpegBytes + labelBytes) throw new Error("cut short");
  return {
    state: STATES[view.getUint8(3)],
    camera: u16(4),
    rung: view.getUint8(6),
    number: view.getUint32(8, true),
    time: f64(12),
    captured: f64(20),
    shown: f64(28),
    sent: f64(36),
    width: u16(44),
    height: u16(46),
    labelWidth: u16(48),
    labelHeight: u16(50),
    jpeg: new Uint8Array(buffer, HEADER_BYTES, jpegBytes),
    deflated: new Uint8Array(buffer, HEADER_BYTES + jpegBytes, labelBytes),
    sourceWidth: u16(60),
    sourceHeight: u16(62),
  };
}

/** A frame that can be drawn: `picture` and `labels` (one byte a pixel of the network). */
export async function decode(buffer) {
  const frame = readHeader(buffer);
  const blob = new Blob([frame.jpeg], { type: "image/jpeg" });
  const [picture, labels] = await Promise.all([createImageBitmap(blob), inflate(frame.deflated)]);
  if (labels.length !== frame.labelWidth * frame.labelHeight) throw new Error("labels cut short");
  frame.picture = picture;
  frame.labels = labels;
  frame.bytes = buffer.byteLength;
  frame.jpeg = frame.deflated = null;
  return frame;
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Share of every class, by id. */
export function shares(frame, classes) {
  const counts = new Uint32Array(256);
  for (const id of frame.labels) counts[id] += 1;
  return Array.from({ length: classes }, (_, id) => counts[id] / frame.labels.length);
}
