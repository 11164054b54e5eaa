// The WebSocket: opened again with growing pauses whenever it closes, its frames handed on decoded. It says which event it
// was told last, so that the server tells it what it missed, over a restart of the server too.

import { parseLooseJson } from "./loose_json.js";

const FIRST_PAUSE = 400;
const LONGEST_PAUSE = 5000;
const EVENT_PREVIEW = 1;
const EVENT_TEXT = 3;
const EVENT_PREVIEW_WITH_METADATA = 4;
const FORMATS = { 1: "image/jpeg", 2: "image/png" };
const CLIENT_ID_KEY = "studio.client-id";
const SINCE_KEY = "studio.since";

export function randomId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  // Outside of secure contexts (the page seen over plain http from another machine).
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** One id for the life of the tab, so that a reload is the same client. `?clientId=` shows the runs of that client. */
export function rememberedClientId() {
  const wanted = new URLSearchParams(location.search).get("clientId");
  try {
    const known = sessionStorage.getItem(CLIENT_ID_KEY);
    if (known && (wanted === null || wanted === known)) return known;
    const made = wanted || randomId();
    sessionStorage.setItem(CLIENT_ID_KEY, made);
    sessionStorage.removeItem(SINCE_KEY);
    return made;
  } catch {
    return wanted || randomId();
  }
}

/** The event behind which the page before a reload had not seen all, or null. */
export function rememberedSince() {
  try {
    const kept = sessionStorage.getItem(SINCE_KEY);
    return /^\d{1,15}$/.test(kept ?? "") ? Number(kept) : null;
  } catch {
    return null;
  }
}

let keptSince = null;
export function rememberSince(since) {
  if (since === null || since === keptSince) return;
  keptSince = since;
  try {
    sessionStorage.setItem(SINCE_KEY, String(since));
  } catch {
    // Without storage a reload starts from the queue and the history.
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
  #seen;
  #socket = null;
  #pause = FIRST_PAUSE;
  #timer = null;

  /** `since`: the last event that was seen, null if none was. */
  constructor(clientId, since) {
    super();
    this.#clientId = clientId;
    this.#seen = since;
    addEventListener("online", () => this.#retryNow());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#retryNow());
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** The number of the last event that was handed on; null with a server that has no numbers. */
  get seen() {
    return this.#seen;
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const query = new URLSearchParams({ clientId: this.#clientId, since: this.#seen ?? "now" });
    const socket = new WebSocket(`${scheme}://${location.host}/ws?${query}`);
    socket.binaryType = "arraybuffer";
    const hear = (name, act) => socket.addEventListener(name, (event) => socket === this.#socket && act(event));
    hear("open", () => {
      this.#pause = FIRST_PAUSE;
      socket.send(JSON.stringify({ type: "feature_flags", data: { supports_preview_metadata: true } }));
      this.#tell("state", { state: "connected" });
    });
    hear("message", (event) => this.#receive(event.data));
    hear("close", () => this.#waitAndRetry());
    this.#socket = socket;
  }

  /** The server does not answer otherwise: this line may be dead, and nobody has told it. Another one is made. */
  doubt() {
    if (!this.isOpen) return;
    const doubtful = this.#socket;
    this.#socket = null;
    doubtful.close();
    this.#waitAndRetry();
  }

  #receive(frame) {
    let decoded;
    try {
      decoded = typeof frame === "string" ? parseLooseJson(frame) : decodeBinary(frame);
    } catch (error) {
      console.warn("A frame that cannot be read was skipped.", error);
      return;
    }
    if (!decoded) return;
    this.#tell(typeof frame === "string" ? "message" : "binary", decoded);
    if (Number.isSafeInteger(decoded.seq)) this.#seen = decoded.seq;
    else if (decoded.type === "snapshot") this.#seen = 0; // Nothing has ever happened there.
  }

  #waitAndRetry() {
    const pause = this.#pause * (0.8 + 0.4 * Math.random());
    this.#pause = Math.min(LONGEST_PAUSE, this.#pause * 1.8);
    this.#tell("state", { state: "reconnecting", seconds: pause / 1000 });
    this.#timer = setTimeout(() => this.open(), pause);
  }

  #retryNow() {
    if (this.#socket !== null && this.#socket.readyState !== WebSocket.CLOSED) return;
    clearTimeout(this.#timer);
    this.open();
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
