// The packs of nodes: which are loaded, what failed and why, and a button that loads one anew.

import * as api from "./api.js";
import { element, keepChildren, seconds, setText } from "./dom.js";

const byId = (id) => document.getElementById(id);

const ORDER = ["failed", "loaded", "new", "disabled"];
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const withNodes = (pack) => (pack.node_names.length ? `: ${plural(pack.node_names.length, "node")}` : "");

export class PacksView {
  #panel = byId("packs");
  #list = byId("pack-items");
  #announce;
  #kept = new Map();
  #isStale = false;

  constructor({ announce }) {
    this.#announce = announce;
  }

  async refresh() {
    try {
      this.#show(await api.readPacks());
    } catch (error) {
      console.warn("The packs could not be read.", error);
    }
  }

  #show(packs) {
    this.#panel.hidden = packs.length === 0;
    const failed = packs.filter(({ state, reload_error }) => state === "failed" || reload_error).length;
    const loaded = packs.filter(({ state }) => state === "loaded").length;
    setText(byId("packs-summary"), failed ? `${failed} of ${packs.length} failed` : `${loaded} loaded`);
    byId("packs-summary").dataset.failed = failed > 0;
    if (this.#isStale) {
      this.#isStale = false;
      this.#kept.clear();
      this.#list.replaceChildren();
    }
    const sorted = [...packs].sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || a.name.localeCompare(b.name));
    const byKey = new Map(sorted.map((pack) => [JSON.stringify(pack), pack]));
    keepChildren(this.#list, [...byKey.keys()], this.#kept, (key) => this.#item(byKey.get(key)));
  }

  #item(pack) {
    const problem = pack.error ?? pack.reload_error;
    const refused = Object.entries(pack.refused_nodes);
    return element(
      "li",
      { "data-state": problem ? "failed" : pack.state },
      element(
        "div",
        { class: "pack-head" },
        element("strong", { class: "pack-name", title: pack.path }, pack.name),
        element("span", { class: "muted" }, this.#facts(pack)),
        pack.state === "disabled"
          ? null
          : element(
              "button",
              {
                type: "button",
                class: "quiet",
                "aria-label": `Load ${pack.name} ${pack.state === "new" ? "" : "anew"}`,
                title: "Reads its code again. Prompts that run keep the nodes that they have.",
                onclick: (event) => this.#reload(pack.name, event.currentTarget),
              },
              pack.state === "new" ? "Load" : "Reload",
            ),
      ),
      problem ? element("p", { class: "pack-problem" }, sentence(pack, problem)) : null,
      pack.missing_name ? element("p", { class: "muted" }, "Missing: ", element("code", {}, pack.missing_name)) : null,
      ...refused.map(([name, why]) => element("p", { class: "pack-problem" }, `${name} cannot be used: ${why}`)),
      ...pack.notes.map((note) => element("p", { class: "muted" }, note)),
      pack.traceback
        ? element("details", {}, element("summary", {}, "Where it failed"), element("pre", {}, pack.traceback))
        : null,
    );
  }

  #facts(pack) {
    if (pack.state === "loaded") return `${plural(pack.node_names.length, "node")}, ${seconds(pack.seconds * 1000)}`;
    return { failed: "failed", disabled: "disabled", new: "not loaded yet" }[pack.state] ?? pack.state;
  }

  async #reload(name, button) {
    button.disabled = true;
    setText(button, "Loading");
    try {
      const pack = await api.reloadPack(name);
      this.#announce([`${name} is loaded${withNodes(pack)}.`, ...pack.notes].join(" "));
    } catch (error) {
      this.#announce(error.message);
    }
    this.#isStale = true; // The button of an item that did not change would stay as it is.
    await this.refresh();
  }
}

function sentence(pack, problem) {
  return pack.error ? `Not loaded: ${problem}.` : `Not loaded anew, the one from before runs: ${problem}.`;
}
