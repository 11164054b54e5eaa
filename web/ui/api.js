// The REST side of the server: one function for each thing that the page asks of it.

import { parseLooseJson } from "./loose_json.js";

const PATIENCE = 20_000; // ms; a listing that takes longer will not come

/** The server cannot be asked: it is not there, or the line is dead. */
export class Unreachable extends Error {
  constructor() {
    super("The server cannot be reached.");
  }
}

/** An answer that is not 2xx. `body` is its decoded JSON, or null. */
export class RequestFailed extends Error {
  constructor(status, body, text) {
    super(body?.error?.message ?? (typeof body?.error === "string" ? body.error : text) ?? `The server answered ${status}.`);
    this.status = status;
    this.body = body;
  }
}

async function ask(path, options = {}) {
  let response;
  let text;
  try {
    response = await fetch(path, { cache: "no-cache", ...options });
    text = await response.text();
  } catch {
    throw new Unreachable();
  }
  let body = null;
  try {
    body = text ? parseLooseJson(text) : null;
  } catch {
    body = null;
  }
  if (!response.ok) {
    throw new RequestFailed(response.status, body, text.length < 200 && text ? text : `The server answered ${response.status}.`);
  }
  return body;
}

const post = (path, body) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const submit = (submission) => post("/api/prompt", submission);
export const readQueue = () => ask("/api/queue", { signal: AbortSignal.timeout(PATIENCE) });
export const readHistory = (newest) => ask(`/api/history?max_items=${newest}`);
export const readHistoryOf = (promptId) => ask(`/api/history/${encodeURIComponent(promptId)}`);
export const readJobs = (query) => ask(`/api/jobs?${new URLSearchParams(query)}`);
export const readJob = (promptId) => ask(`/api/jobs/${encodeURIComponent(promptId)}`);
export const pauseQueue = () => post("/api/queue/pause", {});
export const resumeQueue = () => post("/api/queue/resume", {});
export const interrupt = (promptId) => post("/api/interrupt", { prompt_id: promptId });
export const deletePending = (promptId) => post("/api/queue", { delete: [promptId] });
export const clearPending = () => post("/api/queue", { clear: true });
export const forgetResults = () => post("/api/free", { unload_models: true, free_memory: true });
export const readPacks = () => ask("/api/packs");
export const reloadPack = (name) => post(`/api/packs/${encodeURIComponent(name)}/reload`, {});
export const readSystemStats = () => ask("/api/system_stats");

/** The definition of a node class, or null where the server has none of that name. */
export async function readNodeClass(name) {
  return (await ask(`/api/object_info/${encodeURIComponent(name)}`))?.[name] ?? null;
}

/** Put a picture into the input folder; answers the name by which LoadImage knows it. */
export async function uploadPicture(file) {
  const form = new FormData();
  form.append("image", file);
  form.append("type", "input");
  const stored = await ask("/api/upload/image", { method: "POST", body: form });
  return stored.subfolder ? `${stored.subfolder}/${stored.name}` : stored.name;
}

/** Where a file that a node named in its output can be seen. */
export function viewUrl({ filename, subfolder = "", type = "output" }) {
  return `/api/view?${new URLSearchParams({ filename, subfolder, type })}`;
}

/** The same for a value of LoadImage's `image`: a path below the input folder. */
export function inputViewUrl(name) {
  const cut = name.lastIndexOf("/");
  return viewUrl({ filename: name.slice(cut + 1), subfolder: cut < 0 ? "" : name.slice(0, cut), type: "input" });
}

export async function readExamples() {
  const names = await ask("/examples/index.json");
  return Promise.all(
    names.map(async (name) => ({ key: name.replace(/\.json$/, ""), ...(await ask(`/examples/${encodeURIComponent(name)}`)) })),
  );
}
