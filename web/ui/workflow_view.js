// The chosen workflow: its graph, the few constants one may change, the Run button, and a refusal in the server's words.

import { readNodeClass } from "./api.js";
import { element, setText } from "./dom.js";
import { makeEditor } from "./field_editors.js";
import { GraphView } from "./graph_view.js";

const byId = (id) => document.getElementById(id);

export class WorkflowView {
  #title = byId("workflow-title");
  #description = byId("workflow-description");
  #form = byId("constants");
  #refusal = byId("refusal");
  #graph = new GraphView(byId("graph"));
  #classes = new Map(); // class name -> definition, or null
  #edited = new Map(); // example key -> its prompt, as edited
  #example = null;
  #editors = [];
  #refusedNodes = [];
  #shownRun = null;

  constructor({ onRun }) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#example) onRun(this.#example, this.#readPrompt());
    });
    this.#form.addEventListener("input", () => this.#graph.showConstants(this.#readPrompt()));
    this.#form.addEventListener("change", () => this.#graph.showConstants(this.#readPrompt()));
  }

  get example() {
    return this.#example;
  }

  async choose(example) {
    if (this.#example) this.#edited.set(this.#example.key, this.#readPrompt());
    this.#example = example;
    const prompt = this.#edited.get(example.key) ?? example.prompt;
    setText(this.#title, example.title);
    setText(this.#description, example.description);
    this.#editors = [];
    this.#form.replaceChildren();
    this.clearRefusal();
    await this.#learnClasses(prompt);
    if (this.#example !== example) return; // Another was chosen meanwhile.
    this.#graph.draw(prompt, this.titleOf);
    this.#editors = example.editable.map(([node, input, label]) => {
      const inputs = this.#classes.get(prompt[node].class_type)?.input ?? {};
      const declared = inputs.required?.[input] ?? inputs.optional?.[input];
      return { node, input, ...makeEditor(label, prompt[node].inputs[input], declared) };
    });
    this.#form.replaceChildren(...this.#editors.map((editor) => editor.element));
    this.#sayWhatIsMissing(prompt);
    this.show(null);
  }

  /** File choices change, so the classes that a chosen workflow uses are always asked for again. */
  async #learnClasses(prompt) {
    const names = [...new Set(Object.values(prompt).map((node) => node.class_type))];
    const asked = await Promise.allSettled(names.map(readNodeClass));
    asked.forEach((answer, position) => {
      if (answer.status === "fulfilled") this.#classes.set(names[position], answer.value);
    });
  }

  #sayWhatIsMissing(prompt) {
    const names = new Set(Object.values(prompt).map((node) => node.class_type));
    const missing = [...names].filter((name) => this.#classes.get(name) === null);
    if (missing.length) this.#complain("This server has no node of this name:", [missing.join(", ")]);
  }

  /** The name of a node for people: its own title, the class's display name, the class. */
  titleOf = (id, node) => node._meta?.title ?? this.#classes.get(node.class_type)?.display_name ?? node.class_type;

  #readPrompt() {
    const prompt = structuredClone(this.#edited.get(this.#example.key) ?? this.#example.prompt);
    for (const { node, input, read } of this.#editors) prompt[node].inputs[input] = read();
    return prompt;
  }

  /** Light the graph by `run`, which is a run of this workflow, or by nothing. */
  show(run) {
    this.#shownRun = run;
    this.#graph.show(run, this.#refusedNodes);
  }

  clearRefusal() {
    this.#refusedNodes = [];
    this.#refusal.replaceChildren();
    for (const editor of this.#editors) editor.complain(null);
  }

  /** Show why the server would not have the prompt, or not all of it (`partly`). */
  showRefusal({ error, nodeErrors = {}, prompt, partly = false }) {
    this.clearRefusal();
    const lines = [];
    for (const [id, { errors, class_type }] of Object.entries(nodeErrors)) {
      const name = prompt[id] ? this.titleOf(id, prompt[id]) : class_type;
      for (const { message, details, extra_info } of errors) {
        lines.push(`${name} (node ${id}): ${message}${details ? ` (${details})` : ""}`);
        const editor = this.#editors.find((each) => each.node === id && each.input === extra_info?.input_name);
        editor?.complain(message);
      }
    }
    this.#refusedNodes = Object.keys(nodeErrors);
    if (!lines.length && error?.details) lines.push(error.details);
    const head = partly ? "Accepted in part. These outputs cannot run:" : `Not accepted: ${error.message}`;
    this.#complain(head, lines);
    this.show(this.#shownRun);
  }

  #complain(head, lines) {
    const list = lines.length ? element("ul", {}, ...lines.map((line) => element("li", {}, line))) : null;
    this.#refusal.replaceChildren(element("div", { class: "notice" }, element("p", {}, head), list));
  }
}
