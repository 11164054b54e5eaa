// What is known of each run. Frames, queue listings and history entries go in; `change` events come out.
// It draws nothing and asks the server nothing, and every fact may arrive twice or late.

const KEPT = 60;

/** @typedef {"sending"|"queued"|"running"|"succeeded"|"failed"|"interrupted"|"removed"|"lost"} RunState */

export const isOver = (run) => !["sending", "queued", "running"].includes(run.state);

function newRun(id, { title, prompt = {}, state }) {
  return {
    id,
    title: title || `Run ${id.slice(0, 8)}`,
    prompt,
    state,
    number: null,
    order: 0,
    nodes: new Map(), // executing id -> {state, value, max, display, since, took, text, preview}
    outputs: new Map(), // executing id -> what the node showed
    error: null,
    notices: [], // blocked nodes: said, and the run goes on
    acceptedAt: Infinity,
    startedAt: null, // by our clock, for the seconds that tick while it runs
    startStamp: null, // by the server's
    took: null,
  };
}

export class RunLog extends EventTarget {
  #runs = new Map();
  #order = 0;
  #lastActive = null;

  get(id) {
    return this.#runs.get(id);
  }

  newestFirst() {
    return [...this.#runs.values()].sort((a, b) => b.order - a.order);
  }

  /** A run that this page is about to post. */
  submitting(id, title, prompt) {
    this.#add(newRun(id, { title, prompt, state: "sending" }));
  }

  accepted(id, number) {
    this.#update(id, (run) => {
      run.number = number;
      run.acceptedAt = performance.now();
      if (run.state === "sending") run.state = "queued";
    });
  }

  refused(id) {
    const run = this.#runs.get(id);
    if (!run) return;
    this.#runs.delete(id);
    this.#tell(run);
  }

  removed(id) {
    this.#update(id, (run) => {
      if (!isOver(run)) this.#finish(run, "removed");
    });
  }

  /** A JSON frame of the WebSocket. */
  receive({ type, data }) {
    const handle = this.#handlers[type];
    const run = this.#runs.get(data?.prompt_id);
    if (!handle || !run) return;
    if (isOver(run)) return;
    if (run.state !== "running") this.#start(run);
    this.#lastActive = run;
    handle(run, data);
    this.#tell(run);
  }

  #handlers = {
    execution_start: (run, { timestamp }) => {
      run.startStamp = timestamp;
    },
    execution_cached: (run, { nodes }) => {
      for (const id of nodes) this.#node(run, id).state = "cached";
    },
    executing: (run, { node, display_node }) => {
      if (node === null) return; // The end is told by its own message, or found in the history.
      const entry = this.#node(run, node);
      entry.display = display_node ?? node;
      this.#nodeStarts(entry);
    },
    progress: (run, { node, value, max }) => {
      const entry = this.#node(run, node);
      this.#nodeStarts(entry);
      Object.assign(entry, { value, max, ticked: true });
    },
    progress_state: (run, { nodes }) => {
      for (const [id, told] of Object.entries(nodes)) {
        const entry = this.#node(run, id);
        entry.display = told.display_node_id ?? id;
        if (told.state === "finished") this.#nodeEnds(entry, entry.state === "cached" ? "cached" : "finished");
        else this.#nodeStarts(entry);
        entry.ticked ||= told.state !== "finished" && (told.value !== 0 || told.max !== 1);
        Object.assign(entry, { value: told.value, max: told.max });
      }
    },
    executed: (run, { node, display_node, output }) => {
      const entry = this.#node(run, node);
      entry.display = display_node ?? node;
      if (entry.state !== "cached") this.#nodeEnds(entry, "finished");
      if (output) run.outputs.set(node, output);
    },
    execution_success: (run, data) => this.#finish(run, "succeeded", data),
    execution_error: (run, data) => {
      // A blocker's message has no timestamp, and the run goes on.
      if (data.timestamp === undefined) run.notices.push(data);
      else this.#fail(run, data);
    },
    execution_interrupted: (run, data) => this.#interrupted(run, data),
  };

  /** A preview picture; a frame without metadata belongs to the run that was last heard of. */
  receivePreview({ metadata, image }) {
    const run = this.#runs.get(metadata.prompt_id) ?? this.#lastActive;
    if (!run || isOver(run)) return;
    const running = [...run.nodes].filter(([, node]) => node.state === "running").pop();
    const entry = metadata.node_id === undefined ? running?.[1] : this.#node(run, metadata.node_id);
    if (!entry) return;
    if (entry.preview) URL.revokeObjectURL(entry.preview);
    entry.preview = URL.createObjectURL(image);
    this.#tell(run);
  }

  /** A line of text for a node; the frame names no prompt. */
  receiveText({ nodeId, text }) {
    const run = this.newestFirst().find((each) => each.nodes.get(nodeId)?.state === "running");
    if (!run) return;
    run.nodes.get(nodeId).text = text;
    this.#tell(run);
  }

  /**
   * Take a listing of the queue that was asked for at `askedAt`. Answers the runs that ought to be in it and
   * are not: their end was missed, and the history knows it.
   */
  adoptQueue({ queue_running, queue_pending }, askedAt) {
    const listed = new Set();
    for (const [items, state] of [[queue_running, "running"], [queue_pending, "queued"]]) {
      for (const [number, id, prompt, extra] of items) {
        listed.add(id);
        const run = this.#runs.get(id) ?? this.#add(newRun(id, { title: extra?.title, prompt, state: "queued" }));
        run.number = number;
        if (run.acceptedAt === Infinity) run.acceptedAt = askedAt - 1;
        if (isOver(run) || run.state === state) continue;
        if (state === "running") this.#start(run);
        else if (run.state === "sending") run.state = "queued";
        this.#tell(run);
      }
    }
    return [...this.#runs.values()].filter((run) => !isOver(run) && !listed.has(run.id) && run.acceptedAt < askedAt).map((run) => run.id);
  }

  /** Take history entries, oldest first. */
  adoptHistory(history) {
    for (const [id, entry] of Object.entries(history)) {
      const [number, , prompt, extra] = entry.prompt;
      const known = this.#runs.get(id);
      if (known && isOver(known)) {
        // After a broken connection the server tells of the end that was missed, but not of what was shown before it.
        const learnt = [this.#adoptOutputs(known, entry), this.#adoptEndsOfNodes(known)];
        if (learnt.includes(true)) this.#tell(known);
        continue;
      }
      const run = known ?? this.#add(newRun(id, { title: extra?.title, prompt, state: "queued" }));
      run.number = number;
      this.#adoptOutputs(run, entry);
      const told = new Map(entry.status?.messages ?? []);
      if (told.has("execution_start")) run.startStamp = told.get("execution_start").timestamp;
      for (const node of told.get("execution_cached")?.nodes ?? []) this.#node(run, node).state = "cached";
      if (told.has("execution_error")) this.#fail(run, told.get("execution_error"));
      else if (told.has("execution_interrupted")) this.#interrupted(run, told.get("execution_interrupted"));
      else this.#finish(run, entry.status?.status_str === "error" ? "failed" : "succeeded", told.get("execution_success"));
      this.#adoptEndsOfNodes(run);
      this.#tell(run);
    }
  }

  /** Outputs of a history entry that no frame told of. Answers whether there were any. */
  #adoptOutputs(run, { outputs = {}, meta = {} }) {
    const missed = Object.entries(outputs).filter(([node, output]) => output && !run.outputs.has(node));
    for (const [node, output] of missed) {
      this.#node(run, node).display = meta[node]?.display_node ?? node;
      run.outputs.set(node, output);
    }
    return missed.length > 0;
  }

  /** In a run that succeeded, nodes that nobody saw at work have ended too. Answers whether there were any. */
  #adoptEndsOfNodes(run) {
    if (run.state !== "succeeded") return false;
    const missed = Object.keys(run.prompt).filter((node) => this.#node(run, node).state === "waiting");
    for (const node of missed) this.#node(run, node).state = "finished";
    return missed.length > 0;
  }

  /** Neither the queue nor the history knows it: deleted by someone, or the server was started anew. */
  lost(id) {
    this.#update(id, (run) => {
      if (!isOver(run)) this.#finish(run, "lost");
    });
  }

  #start(run) {
    run.state = "running";
    run.acceptedAt = Math.min(run.acceptedAt, performance.now());
    run.startedAt ??= Date.now();
  }

  #node(run, id) {
    if (!run.nodes.has(id)) {
      run.nodes.set(id, { state: "waiting", value: 0, max: 1, ticked: false, display: id, since: null, took: null, text: null, preview: null });
    }
    return run.nodes.get(id);
  }

  // Tables of progress may be ahead of the other frames: what has ended does not start again.
  #nodeStarts(entry) {
    if (entry.state !== "waiting") return;
    entry.state = "running";
    entry.since = Date.now();
  }

  #nodeEnds(entry, state) {
    if (entry.state === "running" || entry.state === "waiting") {
      entry.state = state;
      entry.took = entry.since === null ? null : Date.now() - entry.since;
    }
  }

  #fail(run, data) {
    run.error = data;
    if (data.node_id !== undefined) this.#nodeEnds(this.#node(run, data.node_id), "failed");
    this.#finish(run, "failed", data);
  }

  #interrupted(run, data) {
    if (data.node_id !== undefined && data.node_id !== null) this.#nodeEnds(this.#node(run, data.node_id), "interrupted");
    this.#finish(run, "interrupted", data);
  }

  #finish(run, state, { timestamp } = {}) {
    run.state = state;
    if (timestamp && run.startStamp) run.took = timestamp - run.startStamp;
    else if (run.startedAt) run.took = Date.now() - run.startedAt;
    for (const entry of run.nodes.values()) {
      if (entry.state === "running") this.#nodeEnds(entry, state === "succeeded" ? "finished" : "interrupted");
      if (entry.preview) URL.revokeObjectURL(entry.preview);
      entry.preview = null;
    }
    this.dispatchEvent(new CustomEvent("finish", { detail: run }));
  }

  #add(run) {
    run.order = ++this.#order;
    this.#runs.set(run.id, run);
    const over = [...this.#runs.values()].filter(isOver);
    for (const old of over.slice(0, Math.max(0, this.#runs.size - KEPT))) this.#runs.delete(old.id);
    this.#tell(run);
    return run;
  }

  #update(id, act) {
    const run = this.#runs.get(id);
    if (!run) return;
    act(run);
    this.#tell(run);
  }

  #tell(run) {
    this.dispatchEvent(new CustomEvent("change", { detail: run }));
  }
}
