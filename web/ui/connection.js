// The WebSocket: opened again with growing pauses whenever it closes, its frames handed on decoded.

import { parseLooseJson } from "./loose_json.js";

const FIRST_PAUSE = 400;
const LONGEST_PAUSE = 8000;
const EVENT_PREVIEW = 1;
const EVENT_TEXT = 3;
const EVENT_PREVIEW_WITH_METADATA = 4;
const FORMATS = { 1: "image/jpeg", 2: "image/png" };

export function randomId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  // Outside of secure contexts (the page seen over plain http from another machine).
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** One id for the life of the tab, so that a reload is the same client to the server. */
export function rememberedClientId() {
  const key = "studio.client-id";
  try {
    const known = sessionStorage.getItem(key);
    if (known) return known;
    const made = randomId();
    sessionStorage.setItem(key, made);
    return made;
  } catch {
    return randomId();
  }
}

/** Decode a binary frame; null for kinds that this page does not know. */
export function decodeBinary(buffer) {
  const view = new DataView(buffer);
  const kind = view.getUint32(0);
  const decoder = new TextDecoder();
  if (kind === EVENT_PREVIEW) {
    const type = FORMATS[view.getUint32(4)] ?? "image/jpeg";
    return { kind: "preview", metadata: {}, image: new Blob([buffer.slice(8)], { type }) };
  }
  const length = view.getUint32(4);
  const head = decoder.decode(new Uint8Array(buffer, 8, length));
  const rest = buffer.slice(8 + length);
  if (kind === EVENT_TEXT) return { kind: "text", nodeId: head, text: decoder.decode(rest) };
  if (kind === EVENT_PREVIEW_WITH_METADATA) {
    const metadata = JSON.parse(head);
    return { kind: "preview", metadata, image: new Blob([rest], { type: metadata.image_type ?? "image/jpeg" }) };
  }
  return null;
}

/**
 * Events: `state` ({state: "connecting" | "connected" | "reconnecting", seconds}),
 * `message` (a JSON frame), `binary` (see decodeBinary).
 */
export class Connection extends EventTarget {
  #clientId;
  #socket = null;
  #pause = FIRST_PAUSE;
  #timer = null;

  constructor(clientId) {
    super();
    this.#clientId = clientId;
    addEventListener("online", () => this.#retryNow());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#retryNow());
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws?clientId=${encodeURIComponent(this.#clientId)}`);
    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", () => {
      this.#pause = FIRST_PAUSE;
      socket.send(JSON.stringify({ type: "feature_flags", data: { supports_preview_metadata: true } }));
      this.#tell("state", { state: "connected" });
    });
    socket.addEventListener("message", (event) => this.#receive(event.data));
    socket.addEventListener("close", () => this.#waitAndRetry());
    this.#socket = socket;
  }

  #receive(frame) {
    let decoded;
    try {
      decoded = typeof frame === "string" ? parseLooseJson(frame) : decodeBinary(frame);
    } catch (error) {
      console.warn("A frame that cannot be read was skipped.", error);
      return;
    }
    if (decoded) this.#tell(typeof frame === "string" ? "message" : "binary", decoded);
  }

  #waitAndRetry() {
    const pause = this.#pause * (0.8 + 0.4 * Math.random());
    this.#pause = Math.min(LONGEST_PAUSE, this.#pause * 1.8);
    this.#tell("state", { state: "reconnecting", seconds: pause / 1000 });
    this.#timer = setTimeout(() => this.open(), pause);
  }

  #retryNow() {
    if (this.#socket?.readyState !== WebSocket.CLOSED) return;
    clearTimeout(this.#timer);
    this.open();
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
