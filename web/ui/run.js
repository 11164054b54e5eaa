// One run as it is known here, and the moves of its nodes. The run log takes facts in and decides which move they are.

/** @typedef {"sending"|"queued"|"running"|"succeeded"|"partly"|"failed"|"poisoned"|"interrupted"|"removed"|"lost"} RunState */

export const isOver = (run) => !["sending", "queued", "running"].includes(run.state);

/** `since`: the last event that was told before anything of it could be; null where events have no numbers. */
export function newRun(id, { title, prompt = {}, state, since = null }) {
  return {
    id,
    title: title || `Run ${id.slice(0, 8)}`,
    prompt,
    state,
    since,
    number: null,
    order: 0,
    nodes: new Map(), // executing id -> {state, value, max, display, since, took, text, preview}
    outputs: new Map(), // executing id -> what the node showed
    errors: [], // nodes that failed: one of them, or several where a prompt goes on after errors
    notices: [], // blocked nodes: said, and the run goes on
    reason: "", // a sentence, where neither a node nor a client is the reason for its end
    knowsOutcome: false, // the job's own word on how it failed was asked for
    wasBroken: false, // the server ended while it ran, and it goes on with another one
    acceptedAt: Infinity,
    startedAt: null, // by our clock, for the seconds that tick while it runs
    startStamp: null, // by the server's
    took: null,
  };
}

export function nodeOf(run, id) {
  if (!run.nodes.has(id)) {
    run.nodes.set(id, { state: "waiting", value: 0, max: 1, ticked: false, display: id, since: null, took: null, text: null, preview: null });
  }
  return run.nodes.get(id);
}

export function starts(run) {
  run.state = "running";
  run.acceptedAt = Math.min(run.acceptedAt, performance.now());
  run.startedAt ??= Date.now();
}

// Tables of progress may be ahead of the other frames: what has ended does not start again.
export function nodeStarts(entry) {
  if (entry.state !== "waiting") return;
  entry.state = "running";
  entry.since = Date.now();
}

export function nodeEnds(entry, state) {
  if (entry.state !== "running" && entry.state !== "waiting") return;
  entry.state = state;
  entry.took = entry.since === null ? null : Date.now() - entry.since;
}

/** How far a node is, by a row of a table of progress. */
export function takeRow(run, id, row) {
  const entry = nodeOf(run, id);
  entry.display = row.display_node_id ?? id;
  if (row.state === "finished") nodeEnds(entry, entry.state === "cached" ? "cached" : "finished");
  else nodeStarts(entry);
  entry.ticked ||= row.state !== "finished" && (row.value !== 0 || row.max !== 1);
  Object.assign(entry, { value: row.value, max: row.max });
}

/** It is started another time: its nodes wait again. What they showed stays in sight until they show it anew. */
export function beginsAnew(run) {
  dropPreviews(run);
  run.nodes.clear();
  Object.assign(run, { errors: [], notices: [], startedAt: null, startStamp: null });
}

export function ends(run, state, { timestamp } = {}) {
  run.state = state;
  if (timestamp && run.startStamp) run.took = timestamp - run.startStamp;
  else if (run.startedAt) run.took = Date.now() - run.startedAt;
  for (const entry of run.nodes.values()) {
    if (entry.state === "running") nodeEnds(entry, state === "succeeded" ? "finished" : "interrupted");
  }
  dropPreviews(run);
}

export function showPreview(entry, image) {
  if (entry.preview) URL.revokeObjectURL(entry.preview);
  entry.preview = URL.createObjectURL(image);
}

/**
 * How many nodes of its prompt are behind it. When a run goes on after a crash, nodes whose outputs are found on the disk
 * are not told one by one: what a node that works or has ended reads, there is no need to wait for.
 */
export function nodesPassed(run) {
  const passed = new Set(Object.keys(run.prompt).filter((id) => ["finished", "cached"].includes(run.nodes.get(id)?.state)));
  if (!run.wasBroken) return passed.size;
  const open = [...run.nodes].filter(([id, { state, ticked }]) => id in run.prompt && (state === "finished" || ticked)).map(([id]) => id);
  const seen = new Set(open);
  while (open.length) {
    for (const value of Object.values(run.prompt[open.pop()].inputs ?? {})) {
      const source = Array.isArray(value) && value.length === 2 ? value[0] : null;
      if (!(source in run.prompt) || seen.has(source)) continue;
      seen.add(source);
      open.push(source);
      if ((run.nodes.get(source)?.state ?? "waiting") === "waiting") passed.add(source);
    }
  }
  return passed.size;
}

function dropPreviews(run) {
  for (const entry of run.nodes.values()) {
    if (entry.preview) URL.revokeObjectURL(entry.preview);
    entry.preview = null;
  }
}
