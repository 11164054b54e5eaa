// What the server has running and waiting, of every client, with the means to stop it; what keeps it busy though nobody
// waits for it; and whether it is paused.

import { element, keepChildren, setText } from "./dom.js";

const MOST_ITEMS = 12;

export class QueueView {
  #summary = document.getElementById("queue-summary");
  #items = document.getElementById("queue-items");
  #clear = document.getElementById("clear-pending");
  #kept = new Map();
  #pause = document.getElementById("pause-queue");
  #pausedNotice = document.getElementById("queue-paused");
  #busy = document.getElementById("queue-busy");
  #busyLines = new Map();
  #onStop;
  #remaining = 0;
  #isPaused = false;
  #hasPausedPool = false;
  #queue = { queue_running: [], queue_pending: [] };

  /** `onStop(promptId, running)`, `onClear()`, `onPause(pause)`. */
  constructor({ onStop, onClear, onPause }) {
    this.#onStop = onStop;
    this.#clear.addEventListener("click", onClear);
    this.#pause.addEventListener("click", () => onPause(!this.#canResume));
  }

  get #canResume() {
    return this.#isPaused || this.#hasPausedPool;
  }

  /** Whether a pool gives nothing out: a call that was given up keeps it, or it is paused. */
  get isBusy() {
    return this.#busyLines.size > 0;
  }

  /** The number of a `status` frame: it is there at once, the listing follows. */
  showRemaining(remaining) {
    if (remaining === 0) {
      this.#showItems({ queue_running: [], queue_pending: [] }); // There is nothing left to stop, nor to ask for.
      return;
    }
    this.#remaining = remaining;
    this.#showSummary();
  }

  /** An answer of `GET /queue`. */
  show(queue) {
    this.#showItems(queue);
    this.#showBusy(queue.busy ?? []);
    this.showPaused(queue.is_paused === true);
  }

  showPaused(isPaused) {
    this.#isPaused = isPaused;
    this.#pausedNotice.hidden = !isPaused;
    setText(this.#pause, this.#canResume ? "Resume" : "Pause");
    this.#pause.title = this.#canResume ? "What waits is started again." : "Nothing more is started. What runs goes on.";
  }

  /**
   * Pools that give nothing out, in the server's words. The seconds of a call that was given up and has not ended go on
   * here; a pool that is paused, for want of memory say, has no node, and is resumed with the queue.
   */
  #showBusy(busy) {
    const shown = new Map(busy.map((each) => [`${each.prompt_id} ${each.node_id} ${each.pool}`, each]));
    keepChildren(this.#busy, [...shown.keys()], this.#busyLines, () => element("li", {}));
    this.#hasPausedPool = busy.some(({ node_id }) => node_id === null);
    const now = Date.now();
    for (const [key, { node_id, seconds, text }] of shown) {
      const line = this.#busyLines.get(key);
      line.dataset.text = node_id === null ? text : text.replace(/, \d+ s$/, "");
      line.dataset.since = node_id === null ? "" : String(now - 1000 * seconds);
    }
    this.tick();
  }

  /** Only the seconds. */
  tick() {
    for (const line of this.#busyLines.values()) {
      const { text, since } = line.dataset;
      setText(line, since ? `${text}, ${Math.floor((Date.now() - Number(since)) / 1000)} s` : text);
    }
  }

  #showItems(queue) {
    this.#queue = queue;
    this.#remaining = queue.queue_running.length + queue.queue_pending.length;
    this.#showSummary();
    this.#clear.disabled = queue.queue_pending.length === 0;
    const items = [...queue.queue_running.map((item) => ({ item, running: true })), ...queue.queue_pending.map((item) => ({ item, running: false }))];
    const shown = new Map(items.slice(0, MOST_ITEMS).map(({ item, running }) => [`${item[1]} ${running}`, { item, running }]));
    keepChildren(this.#items, [...shown.keys()], this.#kept, (key) => this.#makeItem(shown.get(key)));
  }

  #showSummary() {
    const { queue_running, queue_pending } = this.#queue;
    const known = queue_running.length + queue_pending.length === this.#remaining;
    if (this.#remaining === 0) setText(this.#summary, "Empty");
    else if (known) setText(this.#summary, `${queue_running.length} running, ${queue_pending.length} pending`);
    else setText(this.#summary, `${this.#remaining} remaining`);
  }

  #makeItem({ item: [number, id, prompt, extra], running }) {
    const title = extra?.title || `Run ${id.slice(0, 8)}`;
    const word = running ? "Interrupt" : "Delete";
    return element(
      "li",
      { "data-state": running ? "running" : "queued" },
      element("span", { class: "queue-title" }, title),
      element("span", { class: "muted" }, `${Object.keys(prompt).length} nodes`),
      element("button", { type: "button", class: "quiet small", "aria-label": `${word} ${title}, number ${number}`, onclick: () => this.#onStop(id, running) }, word),
    );
  }
}
