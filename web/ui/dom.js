// Building elements without markup: whatever the server says ends up as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** `element("button", {class: "quiet", onclick: stop}, "Stop")` */
export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svgElement(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Write text only where it changed, so that selections and live regions are left alone. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Make the children of `list` be the elements of `keys`, in order, keeping those that exist:
 * focus, scroll positions and opened <details> survive an update.
 */
export function keepChildren(list, keys, kept, make) {
  for (const [key, child] of kept) {
    if (!keys.includes(key)) {
      child.remove();
      kept.delete(key);
    }
  }
  keys.forEach((key, position) => {
    if (!kept.has(key)) kept.set(key, make(key));
    const child = kept.get(key);
    if (list.children[position] !== child) list.insertBefore(child, list.children[position] ?? null);
  });
}

export function seconds(milliseconds) {
  const value = milliseconds / 1000;
  if (value < 0.1) return `${Math.max(0, Math.round(milliseconds))} ms`;
  if (value < 60) return `${value.toFixed(1)} s`;
  return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
}
