// What is known of each run. Frames, queue listings and history entries go in; `change` events come out.
// It draws nothing and asks the server nothing, and every fact may arrive twice or late.

import { beginsAnew, ends, isOver, newRun, nodeEnds, nodeOf, nodeStarts, showPreview, starts, takeRow } from "./run.js";

export { isOver };

const KEPT = 60;
const MOST_EARLY_RUNS = 40;
const MOST_EARLY_FACTS = 500;
const STATES_OF_OUTCOMES = { failed: "failed", poisoned: "poisoned", partial_success: "partly" };
const REPLACEABLE = { progress_state: () => "table", progress: ({ node }) => `progress ${node}` };
const AS_IT_IS = Symbol("how a run is now, by a snapshot");

export class RunLog extends EventTarget {
  #runs = new Map();
  #early = new Map(); // id -> {since, facts: key -> fact}: told of runs before a listing says what they are
  #order = 0;
  #lastActive = null;
  #clocksApart = Infinity; // ms by which our clock is ahead of the server's, and how long the quickest frame took
  #seen;

  /** `seen()`: the number of the last event that was told, or null. */
  constructor(seen = () => null) {
    super();
    this.#seen = seen;
  }

  get(id) {
    return this.#runs.get(id);
  }

  newestFirst() {
    return [...this.#runs.values()].sort((a, b) => b.order - a.order);
  }

  /** What a page has to be told again to know all of the runs that are not over: everything behind this event. */
  since() {
    const seen = this.#seen();
    if (seen === null) return null;
    const open = [...this.#runs.values()].filter((run) => !isOver(run) && run.since !== null);
    return Math.min(seen, ...open.map((run) => run.since), ...[...this.#early.values()].map(({ since }) => since ?? seen));
  }

  /** A run that this page is about to post. */
  submitting(id, title, prompt) {
    this.#add(newRun(id, { title, prompt, state: "sending", since: this.#seen() }));
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
    if (!handle || typeof data?.prompt_id !== "string") return;
    const run = this.#runs.get(data.prompt_id);
    if (!run) return void this.#keepMessage(type, data);
    if (isOver(run)) return;
    if (data.timestamp) this.#clocksApart = Math.min(this.#clocksApart, Date.now() - data.timestamp);
    if (run.state !== "running") starts(run);
    this.#lastActive = run;
    handle(run, data);
    this.#tell(run);
  }

  #handlers = {
    execution_start: (run, { timestamp }) => {
      // Another start than the one that is known: the server ended while it ran, and it was taken up again.
      if (run.startStamp !== null && run.startStamp !== timestamp) this.#beginAnew(run);
      starts(run);
      run.startStamp = timestamp;
      if (timestamp) run.startedAt = timestamp + this.#clocksApart; // It may be told late.
    },
    execution_cached: (run, { nodes }) => {
      for (const id of nodes) nodeOf(run, id).state = "cached";
    },
    executing: (run, { node, display_node }) => {
      if (node === null) {
        // The end. Any other one than this is told by a message of its own, or found in the history.
        if (run.errors.length) this.#finish(run, "failed", run.errors[0]);
        return;
      }
      const entry = nodeOf(run, node);
      entry.display = display_node ?? node;
      if (entry.state === "running") entry.text = null; // It is tried again: why it had to be has been read.
      nodeStarts(entry);
    },
    progress: (run, { node, value, max }) => {
      const entry = nodeOf(run, node);
      nodeStarts(entry);
      Object.assign(entry, { value, max, ticked: true });
    },
    progress_state: (run, { nodes }) => {
      for (const [id, row] of Object.entries(nodes)) takeRow(run, id, row);
    },
    executed: (run, { node, display_node, output }) => {
      const entry = nodeOf(run, node);
      entry.display = display_node ?? node;
      if (entry.state !== "cached") nodeEnds(entry, "finished");
      if (output) run.outputs.set(node, output);
    },
    execution_success: (run, data) => this.#finish(run, "succeeded", data),
    execution_error: (run, data) => {
      // A blocker's message has no timestamp, and the run goes on. It does after other errors too, if it was submitted so.
      if (data.timestamp === undefined) run.notices.push(data);
      else this.#failed(run, data);
    },
    execution_interrupted: (run, data) => this.#interrupted(run, data),
    [AS_IT_IS]: (run, { nodes }) => {
      for (const [id, entry] of run.nodes) {
        if (entry.state === "running" && nodes[id]?.state !== "running") run.nodes.delete(id);
      }
      for (const [id, row] of Object.entries(nodes)) takeRow(run, id, row);
    },
  };

  /**
   * How things are, as the server says once it has told what was missed. `hasGap`: not all of that could be told, so
   * that what is known of open runs may be of an earlier start of theirs.
   */
  receiveSnapshot({ queue, prompts = {} }, seq, hasGap) {
    const pending = new Set(queue?.pending ?? []);
    const ofOthers = new Set((queue?.running ?? []).filter((id) => !(id in prompts)));
    for (const run of this.#runs.values()) {
      if (isOver(run)) continue;
      if (hasGap) {
        beginsAnew(run);
        run.since = seq ?? null;
      }
      // Tables tell of it again; that it was started another time, only its own client would be told.
      if (run.state === "running" && ofOthers.has(run.id)) beginsAnew(run);
      if (run.state !== "running" || !pending.has(run.id)) continue;
      this.#beginAnew(run);
      run.state = "queued";
      this.#tell(run);
    }
    if (hasGap) this.#early.clear();
    for (const [id, { nodes = {} }] of Object.entries(prompts)) this.receive({ type: AS_IT_IS, data: { prompt_id: id, nodes } });
  }

  /** A preview picture; a frame without metadata belongs to the run that was last heard of. */
  receivePreview({ metadata, image }) {
    const id = metadata.prompt_id;
    const run = id === undefined ? this.#lastActive : this.#runs.get(id);
    if (!run && id !== undefined) this.#keepForLater(id, `preview ${metadata.node_id}`, () => this.receivePreview({ metadata, image }));
    if (!run || isOver(run)) return;
    const running = [...run.nodes].filter(([, node]) => node.state === "running").pop();
    const entry = metadata.node_id === undefined ? running?.[1] : nodeOf(run, metadata.node_id);
    if (!entry) return;
    showPreview(entry, image);
    this.#tell(run);
  }

  /** A line of text for a node; the frame names no prompt. */
  receiveText({ nodeId, text }) {
    const run = this.newestFirst().find((each) => each.nodes.get(nodeId)?.state === "running");
    if (!run) {
      const early = [...this.#early.keys()].pop();
      if (early !== undefined) this.#keepForLater(early, `text ${nodeId}`, () => this.receiveText({ nodeId, text }));
      return;
    }
    run.nodes.get(nodeId).text = text;
    this.#tell(run);
  }

  #keepMessage(type, data) {
    // What has ended is in the history, with all that it showed.
    if (type === "executing" && data.node === null) this.#early.delete(data.prompt_id);
    else this.#keepForLater(data.prompt_id, REPLACEABLE[type]?.(data), () => this.receive({ type, data }));
  }

  /** What is told of a run that no listing has shown yet, in its order; of facts with one key only the newest. */
  #keepForLater(id, key, fact) {
    if (!this.#early.has(id)) this.#early.set(id, { since: this.#seen(), facts: new Map() });
    const { facts } = this.#early.get(id);
    if (key) facts.delete(key);
    if (facts.size < MOST_EARLY_FACTS) facts.set(key ?? Symbol("a fact"), fact);
    if (this.#early.size > MOST_EARLY_RUNS) this.#early.delete(this.#early.keys().next().value);
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
        const run = this.#runs.get(id) ?? this.#add(newRun(id, { title: extra?.title, prompt, state: "queued", since: this.#seen() }));
        run.number = number;
        if (run.acceptedAt === Infinity) run.acceptedAt = askedAt - 1;
        if (run.state === "lost") run.state = "queued"; // It was not.
        if (isOver(run) || run.state === state) continue;
        // A listing may be older than what was told meanwhile: what runs does not wait again because of one.
        if (state === "running") starts(run);
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
      this.#early.delete(id); // The entry says all of it.
      const run = known ?? this.#add(newRun(id, { title: extra?.title, prompt, state: "queued" }));
      run.number = number;
      this.#adoptOutputs(run, entry);
      const told = new Map(entry.status?.messages ?? []);
      if (told.has("execution_start")) run.startStamp = told.get("execution_start").timestamp;
      for (const node of told.get("execution_cached")?.nodes ?? []) nodeOf(run, node).state = "cached";
      if (told.has("execution_error")) {
        this.#failed(run, told.get("execution_error"));
        this.#finish(run, "failed", told.get("execution_error"));
      } else if (told.has("execution_interrupted")) this.#interrupted(run, told.get("execution_interrupted"));
      else this.#finish(run, entry.status?.status_str === "error" ? "failed" : "succeeded", told.get("execution_success"));
      this.#adoptEndsOfNodes(run);
      this.#tell(run);
    }
  }

  /** Runs that failed and of which only the job says how: in part, say. */
  withoutOutcome() {
    return [...this.#runs.values()].filter((run) => run.state === "failed" && !run.knowsOutcome).map((run) => run.id);
  }

  /** Take a job as the job API shows it; null if it knows none. */
  adoptJob(id, job) {
    this.#update(id, (run) => {
      run.knowsOutcome = true;
      if (!job || run.state !== "failed") return;
      run.state = STATES_OF_OUTCOMES[job.outcome] ?? run.state;
      run.reason = job.reason ?? "";
      if (job.execution_start_time && job.execution_end_time) run.took = job.execution_end_time - job.execution_start_time;
      for (const error of job.errors ?? []) this.#failed(run, error);
      for (const node of Object.keys(run.state === "partly" ? (job.outputs ?? {}) : {})) nodeEnds(nodeOf(run, node), "finished");
    });
  }

  /** Outputs of a history entry that no frame told of. Answers whether there were any. */
  #adoptOutputs(run, { outputs = {}, meta = {} }) {
    const missed = Object.entries(outputs).filter(([node, output]) => output && !run.outputs.has(node));
    for (const [node, output] of missed) {
      nodeOf(run, node).display = meta[node]?.display_node ?? node;
      run.outputs.set(node, output);
    }
    return missed.length > 0;
  }

  /** In a run that succeeded, nodes that nobody saw at work have ended too. Answers whether there were any. */
  #adoptEndsOfNodes(run) {
    if (run.state !== "succeeded") return false;
    const missed = Object.keys(run.prompt).filter((node) => nodeOf(run, node).state === "waiting");
    for (const node of missed) nodeOf(run, node).state = "finished";
    return missed.length > 0;
  }

  /** Neither the queue nor the history knows it: deleted by someone, or the server was started anew. */
  lost(id) {
    this.#update(id, (run) => {
      if (!isOver(run)) this.#finish(run, "lost");
    });
  }

  #beginAnew(run) {
    beginsAnew(run);
    run.wasBroken = true;
  }

  #failed(run, data) {
    const known = run.errors.findIndex((each) => each.node_id === data.node_id);
    if (known < 0) run.errors.push(data);
    if (data.node_id !== undefined) nodeEnds(nodeOf(run, data.node_id), "failed");
  }

  #interrupted(run, data) {
    if (data.node_id !== undefined && data.node_id !== null) nodeEnds(nodeOf(run, data.node_id), "interrupted");
    this.#finish(run, "interrupted", data);
  }

  #finish(run, state, told) {
    ends(run, state, told);
    this.dispatchEvent(new CustomEvent("finish", { detail: run }));
  }

  #add(run) {
    run.order = ++this.#order;
    this.#runs.set(run.id, run);
    const over = [...this.#runs.values()].filter(isOver);
    for (const old of over.slice(0, Math.max(0, this.#runs.size - KEPT))) this.#runs.delete(old.id);
    const early = this.#early.get(run.id);
    if (early) {
      this.#early.delete(run.id);
      run.since = early.since;
      for (const fact of early.facts.values()) fact();
    }
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
