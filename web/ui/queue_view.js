// What the server has running and waiting, of every client, with the means to stop it.

import { element, keepChildren, setText } from "./dom.js";

const MOST_ITEMS = 12;

export class QueueView {
  #summary = document.getElementById("queue-summary");
  #items = document.getElementById("queue-items");
  #clear = document.getElementById("clear-pending");
  #kept = new Map();
  #onStop;
  #remaining = 0;
  #queue = { queue_running: [], queue_pending: [] };

  /** `onStop(promptId, running)`, `onClear()`. */
  constructor({ onStop, onClear }) {
    this.#onStop = onStop;
    this.#clear.addEventListener("click", onClear);
  }

  /** The number of a `status` frame: it is there at once, the listing follows. */
  showRemaining(remaining) {
    if (remaining === 0) {
      this.show({ queue_running: [], queue_pending: [] }); // There is nothing left to stop, nor to ask for.
      return;
    }
    this.#remaining = remaining;
    this.#showSummary();
  }

  show(queue) {
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
