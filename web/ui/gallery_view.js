// The pictures of all runs, newest first, and one of them large.

import { viewUrl } from "./api.js";
import { element, keepChildren, setText } from "./dom.js";
import { pictureButton, picturesOf } from "./run_view.js";

const MOST_PICTURES = 30;
const byId = (id) => document.getElementById(id);

export class GalleryView {
  #grid = byId("gallery");
  #empty = byId("gallery-empty");
  #viewer = byId("viewer");
  #kept = new Map();

  constructor() {
    byId("viewer-close").addEventListener("click", () => this.#viewer.close());
    this.#viewer.addEventListener("click", (event) => event.target === this.#viewer && this.#viewer.close());
  }

  show(runs, titleOf) {
    const pictures = new Map();
    for (const run of runs) {
      for (const [node, output] of run.outputs) {
        for (const each of picturesOf(output)) {
          const url = viewUrl(each);
          if (pictures.size < MOST_PICTURES && !pictures.has(url)) pictures.set(url, { ...each, run, node });
        }
      }
    }
    keepChildren(this.#grid, [...pictures.keys()], this.#kept, (url) => {
      const { filename, run, node } = pictures.get(url);
      const name = run.prompt[node] ? titleOf(node, run.prompt[node]) : `Node ${node}`;
      const caption = `${run.title}: ${filename}`;
      return element(
        "li",
        {},
        pictureButton(url, `${filename} of ${run.title}`, "picture", () => this.open(url, caption)),
        element("p", {}, name),
        element("p", { class: "muted" }, run.title),
      );
    });
    this.#empty.hidden = pictures.size > 0;
  }

  open(url, caption) {
    setText(byId("viewer-caption"), caption);
    byId("viewer-link").href = url;
    Object.assign(byId("viewer-image"), { src: url, alt: caption });
    this.#viewer.showModal();
  }
}
