// A prompt as a picture: nodes in columns by depth, links between them, each node lit by what it does.

import { setText, svgElement } from "./dom.js";

const NODE = { width: 144, height: 46 };
const GAP = { across: 36, down: 16 };
const EDGE = 6;
const MOST_DRAWN = 80;
const MARKS = { running: "●", finished: "✓", cached: "↺", failed: "!", interrupted: "×" };

const isLink = (value) => Array.isArray(value) && value.length === 2 && typeof value[0] === "string";

function linksOf(prompt) {
  const links = [];
  for (const [target, node] of Object.entries(prompt)) {
    for (const value of Object.values(node.inputs ?? {})) {
      if (isLink(value) && value[0] in prompt) links.push({ source: value[0], target });
    }
  }
  return links;
}

/** Column of each node: the longest way from a node without inputs. Nodes of a cycle stay in column 0. */
function depths(prompt, links) {
  const depth = Object.fromEntries(Object.keys(prompt).map((id) => [id, 0]));
  const open = Object.fromEntries(Object.keys(prompt).map((id) => [id, 0]));
  for (const { target } of links) open[target] += 1;
  const ready = Object.keys(prompt).filter((id) => open[id] === 0);
  while (ready.length) {
    const id = ready.pop();
    for (const { source, target } of links) {
      if (source !== id) continue;
      depth[target] = Math.max(depth[target], depth[id] + 1);
      open[target] -= 1;
      if (open[target] === 0) ready.push(target);
    }
  }
  // A source sits right before its first reader instead of at the far left.
  for (const id of Object.keys(prompt)) {
    if (links.some(({ target }) => target === id)) continue;
    const readers = links.filter(({ source }) => source === id).map(({ target }) => depth[target]);
    if (readers.length) depth[id] = Math.max(0, Math.min(...readers) - 1);
  }
  return depth;
}

/** Places of the nodes. Within a column they stand in the order of what they read, so that few links cross. */
function layOut(prompt, links) {
  const depth = depths(prompt, links);
  const columns = [];
  for (const id of Object.keys(prompt)) (columns[depth[id]] ??= []).push(id);
  const tallest = Math.max(...columns.map((column) => column.length));
  const places = {};
  columns.forEach((column, across) => {
    const wanted = (id) => {
      const sources = links.filter(({ target, source }) => target === id && places[source]).map(({ source }) => places[source].y);
      return sources.length ? sources.reduce((sum, y) => sum + y, 0) / sources.length : Infinity;
    };
    const order = new Map(column.map((id) => [id, wanted(id)]));
    column.sort((a, b) => (order.get(a) === order.get(b) ? 0 : order.get(a) - order.get(b)));
    const top = ((tallest - column.length) * (NODE.height + GAP.down)) / 2;
    column.forEach((id, down) => {
      places[id] = { x: EDGE + across * (NODE.width + GAP.across), y: EDGE + top + down * (NODE.height + GAP.down) };
    });
  });
  return {
    places,
    width: 2 * EDGE + columns.length * (NODE.width + GAP.across) - GAP.across,
    height: 2 * EDGE + tallest * (NODE.height + GAP.down) - GAP.down,
  };
}

function clip(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

/** The constants of a node in a few words. */
function constantsOf(node) {
  const constants = Object.entries(node.inputs ?? {}).filter(([, value]) => !isLink(value));
  return constants.map(([name, value]) => written(name, value)).join(" · ");
}

function written(name, value) {
  if (name === "color" && Number.isInteger(value)) return `#${value.toString(16).padStart(6, "0")}`;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

export class GraphView {
  #root;
  #drawn = new Map();
  #links = [];
  #prompt = null;

  constructor(root) {
    this.#root = root;
  }

  /** `titleOf(id, node)` names a node. */
  draw(prompt, titleOf) {
    this.#prompt = prompt;
    this.#drawn.clear();
    this.#links = [];
    const size = Object.keys(prompt).length;
    if (size === 0 || size > MOST_DRAWN) {
      this.#root.replaceChildren(size ? `A graph of ${size} nodes: too large to be drawn here.` : "");
      return;
    }
    const links = linksOf(prompt);
    const { places, width, height } = layOut(prompt, links);
    const svg = svgElement("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": this.#describe(prompt, titleOf) });
    svg.style.maxWidth = `${Math.round(width * 1.15)}px`;
    svg.style.minWidth = `${Math.round(width * 0.8)}px`;
    for (const { source, target } of links) {
      const [from, to] = [places[source], places[target]];
      const [x1, y1, x2, y2] = [from.x + NODE.width, from.y + NODE.height / 2, to.x, to.y + NODE.height / 2];
      const bend = Math.max(18, (x2 - x1) / 2);
      const path = svgElement("path", { class: "link", d: `M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` });
      this.#links.push({ source, target, path });
      svg.append(path);
    }
    for (const [id, node] of Object.entries(prompt)) svg.append(this.#drawNode(id, node, titleOf(id, node), places[id]));
    this.#root.replaceChildren(svg);
  }

  #drawNode(id, node, title, { x, y }) {
    const bar = svgElement("rect", { class: "bar", x: 1, y: NODE.height - 4, width: 0, height: 3, rx: 1.5 });
    const mark = svgElement("text", { class: "mark", x: NODE.width - 9, y: 18, "text-anchor": "end" });
    const constants = svgElement("text", { class: "constants-line", x: 10, y: 34 }, clip(constantsOf(node), 22));
    const group = svgElement(
      "g",
      { class: "node", transform: `translate(${x} ${y})`, "data-state": "waiting" },
      svgElement("title", {}, `${title} (${node.class_type}, node ${id})`),
      svgElement("rect", { class: "box", width: NODE.width, height: NODE.height, rx: 7 }),
      svgElement("text", { class: "name", x: 10, y: 19 }, clip(title, 17)),
      constants,
      mark,
      bar,
    );
    this.#drawn.set(id, { group, bar, mark, constants });
    return group;
  }

  #describe(prompt, titleOf) {
    const names = Object.entries(prompt).map(([id, node]) => titleOf(id, node));
    return `Graph of ${names.length} nodes: ${names.join(", ")}. What each does is told below Runs.`;
  }

  /** Show changed constants without drawing anew. */
  showConstants(prompt) {
    for (const [id, { constants }] of this.#drawn) setText(constants, clip(constantsOf(prompt[id]), 22));
  }

  /** Light the nodes by a run's table, or put them out. Expanded nodes count for the node they belong to. */
  show(run, refusedNodes = []) {
    const shown = new Map();
    for (const [id, entry] of run?.nodes ?? []) {
      const place = this.#drawn.has(id) ? id : entry.display;
      if (place === id || !shown.has(place) || entry.state === "running") shown.set(place, entry);
    }
    for (const [id, { group, bar, mark }] of this.#drawn) {
      const entry = shown.get(id);
      const state = refusedNodes.includes(id) ? "failed" : (entry?.state ?? "waiting");
      const share = entry && entry.max > 0 ? Math.min(1, entry.value / entry.max) : 0;
      group.dataset.state = state;
      group.classList.toggle("ticking", Boolean(entry?.ticked));
      bar.setAttribute("width", state === "running" && entry.ticked ? share * (NODE.width - 2) : 0);
      setText(mark, MARKS[state] ?? "");
    }
    for (const { source, target, path } of this.#links) {
      const done = ["finished", "cached"].includes(this.#drawn.get(source).group.dataset.state);
      path.dataset.state = done ? (this.#drawn.get(target).group.dataset.state === "running" ? "feeding" : "done") : "waiting";
    }
  }
}
