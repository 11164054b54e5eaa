// A card for each run: what its nodes do right now, what came out, and what went wrong.

import { viewUrl } from "./api.js";
import { element, keepChildren, seconds, setText } from "./dom.js";
import { isOver, nodesPassed } from "./run.js";

const STATES = {
  sending: "sending",
  queued: "waiting",
  running: "running",
  succeeded: "done",
  partly: "done in part",
  failed: "failed",
  poisoned: "given up: the server ended while it ran",
  interrupted: "interrupted",
  removed: "removed from the queue",
  lost: "no longer known to the server",
};
const MOST_CARDS = 30;
const MOST_BARS = 16;
const LONG_ENOUGH = 600; // ms; nodes quicker than this leave no bar behind

/** The pictures of an output, as the server names them. */
export function picturesOf(output) {
  const pictures = Array.isArray(output?.images) ? output.images : [];
  return pictures.filter((each) => each && typeof each.filename === "string");
}

/** A button with the picture of `url`. Previews die with the server, so a picture may be gone. */
export function pictureButton(url, label, className, onclick) {
  const image = element("img", { src: url, alt: "", loading: "lazy" });
  const button = element("button", { type: "button", class: className, "aria-label": `Show ${label}`, onclick }, image);
  image.addEventListener("error", () => {
    button.disabled = true;
    button.setAttribute("aria-label", `${label}: no longer there`);
    image.replaceWith("gone");
  });
  return button;
}

class NodeBar {
  #name = element("span", { class: "bar-name" });
  #figure = element("span", { class: "bar-figure" });
  #progress = element("progress", { max: 1 });
  #preview = element("img", { class: "bar-preview", alt: "", hidden: true });
  #text = element("p", { class: "bar-text", hidden: true });

  constructor(name) {
    this.element = element("li", { class: "bar" }, element("div", { class: "bar-head" }, this.#name, this.#figure), this.#progress, this.#text, this.#preview);
    setText(this.#name, name);
    this.#progress.setAttribute("aria-label", name);
  }

  show(entry) {
    this.element.dataset.state = entry.state;
    const over = entry.state !== "running";
    if (over) this.#progress.value = entry.state === "finished" ? 1 : entry.max > 0 ? entry.value / entry.max : 0;
    else if (entry.ticked && entry.max > 0) this.#progress.value = entry.value / entry.max;
    else this.#progress.removeAttribute("value");
    const share = entry.max > 0 ? Math.min(1, entry.value / entry.max) : 0;
    setText(this.#figure, over ? (entry.took === null ? entry.state : seconds(entry.took)) : entry.ticked ? `${Math.floor(share * 100)} %` : "working");
    this.#text.hidden = !entry.text || over;
    setText(this.#text, entry.text ?? "");
    this.#preview.hidden = !entry.preview;
    if (entry.preview && this.#preview.src !== entry.preview) this.#preview.src = entry.preview;
  }
}

class RunCard {
  #title = element("button", { type: "button", class: "run-title" });
  #state = element("span", { class: "run-state" });
  #clock = element("span", { class: "run-clock" });
  #stop = element("button", { type: "button", class: "quiet small" });
  #bars = element("ul", { class: "bars" });
  #pictures = element("ul", { class: "thumbnails" });
  #texts = element("div", { class: "texts" });
  #trouble = element("div", { class: "trouble" });
  #keptBars = new Map();
  #barViews = new Map();
  #keptPictures = new Map();
  #troubleShown = null;
  #textsShown = "";

  constructor(run, { titleOf, onSelect, onStop, onPicture }) {
    this.titleOf = titleOf;
    this.onPicture = onPicture;
    this.element = element(
      "li",
      { class: "run" },
      element("div", { class: "run-head" }, this.#title, this.#stop),
      element("p", { class: "run-line" }, this.#state, this.#clock),
      this.#bars,
      this.#trouble,
      this.#texts,
      this.#pictures,
    );
    this.#title.addEventListener("click", () => onSelect(run));
    this.#stop.addEventListener("click", () => onStop(run));
  }

  show(run, selected) {
    this.element.dataset.state = run.state;
    setText(this.#title, run.title);
    this.#title.setAttribute("aria-pressed", String(selected));
    this.#stop.hidden = isOver(run) || run.state === "sending";
    setText(this.#stop, run.state === "running" ? "Interrupt" : "Remove");
    this.#stop.setAttribute("aria-label", `${run.state === "running" ? "Interrupt" : "Remove"} ${run.title}`);
    setText(this.#state, this.#stateLine(run));
    this.tick(run);
    this.#showBars(run);
    this.#showPictures(run);
    this.#showTexts(run);
    this.#showTrouble(run);
  }

  /** Only the clock, which goes on between events. */
  tick(run) {
    const elapsed = isOver(run) ? run.took : run.startedAt && Date.now() - run.startedAt;
    setText(this.#clock, elapsed === null ? "" : seconds(elapsed));
  }

  #stateLine(run) {
    const total = Object.keys(run.prompt).length;
    const ended = nodesPassed(run);
    const cached = [...run.nodes.values()].filter((node) => node.state === "cached").length;
    const fromCache = cached ? `, ${cached} from the cache` : "";
    const failed = run.errors.length ? `, ${run.errors.length} failed` : "";
    const again = run.wasBroken ? "running again" : "running";
    if (run.state === "running") return `${again}, ${ended} of ${total} nodes${fromCache}${failed}`;
    if (run.state === "queued" && run.wasBroken) return "waiting to go on: the server was started again";
    if (run.state === "succeeded") return `done, ${total} nodes${fromCache}`;
    if (run.state === "partly") return `done in part, ${ended} of ${total} nodes${fromCache}${failed}`;
    return STATES[run.state];
  }

  #nameOf(run, id, entry) {
    const own = run.prompt[id];
    if (own) return this.titleOf(id, own);
    const shown = run.prompt[entry.display];
    return shown ? `${this.titleOf(entry.display, shown)}, part ${id}` : `Node ${id}`;
  }

  #showBars(run) {
    const worthABar = ([, { state, since, took }]) => {
      if (since === null) return false; // Known from the history only: nobody saw it work.
      return state === "running" || (!isOver(run) && took >= LONG_ENOUGH) || ["failed", "interrupted"].includes(state);
    };
    const longest = [...run.nodes].filter(worthABar).sort(([, a], [, b]) => a.since - b.since).slice(0, MOST_BARS);
    // In the order of the prompt: those that start together would change places from run to run.
    const order = Object.keys(run.prompt);
    const shown = longest.sort(([a, { display: x }], [b, { display: y }]) => order.indexOf(a in run.prompt ? a : x) - order.indexOf(b in run.prompt ? b : y));
    keepChildren(this.#bars, shown.map(([id]) => id), this.#keptBars, (id) => {
      const bar = new NodeBar(this.#nameOf(run, id, run.nodes.get(id)));
      this.#barViews.set(id, bar);
      return bar.element;
    });
    for (const [id, entry] of shown) this.#barViews.get(id).show(entry);
  }

  #showPictures(run) {
    const pictures = new Map();
    for (const [node, output] of run.outputs) {
      for (const each of picturesOf(output)) pictures.set(viewUrl(each), { ...each, node });
    }
    keepChildren(this.#pictures, [...pictures.keys()], this.#keptPictures, (url) => {
      const { filename } = pictures.get(url);
      const open = () => this.onPicture(url, `${run.title}: ${filename}`);
      return element("li", {}, pictureButton(url, filename, "thumbnail", open));
    });
  }

  #showTexts(run) {
    const texts = [];
    for (const [node, output] of run.outputs) {
      const name = run.prompt[node] ? this.titleOf(node, run.prompt[node]) : `Node ${node}`;
      for (const [key, value] of Object.entries(output)) {
        if (key === "images" || key === "animated") continue;
        const lines = Array.isArray(value) ? value : [value];
        texts.push([name, lines.map((line) => (typeof line === "string" ? line : JSON.stringify(line))).join("\n")]);
      }
    }
    const shown = JSON.stringify(texts);
    if (shown === this.#textsShown) return;
    this.#textsShown = shown;
    this.#texts.replaceChildren(...texts.map(([name, text]) => element("figure", {}, element("figcaption", {}, name), element("pre", { tabindex: 0 }, text))));
  }

  #showTrouble(run) {
    const key = JSON.stringify([run.notices.length, run.errors.map((error) => error.node_id), run.reason]);
    if (key === this.#troubleShown) return;
    this.#troubleShown = key;
    const told = [...run.notices, ...run.errors].map((error) => this.#describeError(run, error));
    const isTold = run.errors.some((error) => String(error.exception_message ?? "").includes(run.reason));
    if (run.reason && !isTold) told.push(element("div", { class: "notice" }, run.reason));
    this.#trouble.replaceChildren(...told);
  }

  #describeError(run, { node_id, node_type, exception_type, exception_message, traceback = [], current_inputs = {} }) {
    const name = run.prompt[node_id] ? this.titleOf(node_id, run.prompt[node_id]) : (node_type ?? "The run");
    const parts = [
      element("p", {}, element("strong", {}, name), node_id === undefined ? "" : ` (node ${node_id})`),
      element("p", { class: "error-message" }, String(exception_message ?? "").trim()),
    ];
    const inputs = Object.entries(current_inputs);
    if (traceback.length || inputs.length) {
      parts.push(
        element(
          "details",
          {},
          element("summary", {}, exception_type ?? "Details"),
          traceback.length ? element("pre", { tabindex: 0 }, traceback.join("").trimEnd()) : null,
          inputs.length ? element("pre", { tabindex: 0 }, inputs.map(([input, value]) => `${input} = ${JSON.stringify(value)}`).join("\n")) : null,
        ),
      );
    } else if (exception_type) parts.push(element("p", { class: "muted" }, exception_type));
    return element("div", { class: "notice" }, ...parts);
  }
}

export class RunsView {
  #list = document.getElementById("runs");
  #empty = document.getElementById("runs-empty");
  #kept = new Map();
  #cards = new Map();
  #wiring;

  /** `wiring`: titleOf, onSelect, onStop, onPicture. */
  constructor(wiring) {
    this.#wiring = wiring;
  }

  show(runs, selectedId, changed) {
    const shown = runs.slice(0, MOST_CARDS);
    const fresh = new Set();
    keepChildren(this.#list, shown.map((run) => run.id), this.#kept, (id) => {
      const card = new RunCard(shown.find((run) => run.id === id), this.#wiring);
      this.#cards.set(id, card);
      fresh.add(id);
      return card.element;
    });
    for (const id of this.#cards.keys()) if (!this.#kept.has(id)) this.#cards.delete(id);
    for (const run of shown) {
      if (changed === null || changed.has(run.id) || fresh.has(run.id)) this.#cards.get(run.id).show(run, run.id === selectedId);
    }
    this.#empty.hidden = shown.length > 0;
  }

  tick(runs) {
    for (const run of runs) if (run.state === "running") this.#cards.get(run.id)?.tick(run);
  }
}
