// One editor for each kind of constant, chosen by what the server says of the input.
// What a person types is sent as it is: telling right from wrong is the server's work, and it says so by name.

import { inputViewUrl, uploadPicture } from "./api.js";
import { element } from "./dom.js";

let made = 0;

/** Frame of a field: label, control, and room for the server's complaint. */
function field(label, control, { wide = false, hint = null, labelled = control } = {}) {
  const id = `field-${++made}`;
  labelled.id = id;
  const complaint = element("p", { class: "complaint", id: `${id}-complaint`, hidden: true });
  labelled.setAttribute("aria-describedby", complaint.id);
  return {
    element: element(
      "div",
      { class: wide ? "field wide" : "field" },
      element("label", { for: id }, label),
      control,
      hint ? element("p", { class: "hint" }, hint) : null,
      complaint,
    ),
    complain(message) {
      complaint.hidden = !message;
      complaint.textContent = message ?? "";
      labelled.toggleAttribute("aria-invalid", Boolean(message));
      if (message) labelled.setAttribute("aria-invalid", "true");
    },
  };
}

function numberEditor(label, value, [type, options]) {
  const whole = type === "INT";
  const input = element("input", {
    type: "number",
    inputmode: whole ? "numeric" : "decimal",
    step: options.step ?? (whole ? 1 : "any"),
    min: options.min,
    max: options.max,
    value,
  });
  const read = () => (input.value === "" || Number.isNaN(Number(input.value)) ? input.value : Number(input.value));
  return { ...field(label, input), read };
}

function colorEditor(label, value) {
  const input = element("input", { type: "color", value: `#${Number(value).toString(16).padStart(6, "0")}` });
  return { ...field(label, input), read: () => Number.parseInt(input.value.slice(1), 16) };
}

function textEditor(label, value, [, options]) {
  const input = options.multiline
    ? element("textarea", { rows: 3 }, value)
    : element("input", { type: /^https?:/.test(value) ? "url" : "text", spellcheck: "false", value });
  return { ...field(label, input, { wide: true }), read: () => input.value };
}

function switchEditor(label, value) {
  const input = element("input", { type: "checkbox", checked: Boolean(value) });
  return { ...field(label, input), read: () => input.checked };
}

function choiceEditor(label, value, options) {
  const select = element("select");
  for (const option of options) select.append(element("option", { value: option, selected: option === value }, String(option)));
  const read = () => options.find((option) => String(option) === select.value) ?? select.value;
  return { ...field(label, select), read };
}

function pictureEditor(label, value, files) {
  const names = files.includes(value) ? files : [value, ...files];
  const select = element("select");
  for (const name of names) select.append(element("option", { value: name, selected: name === value }, name));

  const picture = element("img", { class: "chosen", alt: "" });
  picture.addEventListener("error", () => picture.removeAttribute("src"));
  const show = () => {
    picture.src = inputViewUrl(select.value);
  };
  select.addEventListener("change", show);

  const chooser = element("input", { type: "file", accept: "image/*", class: "hidden", tabindex: "-1", "aria-hidden": "true" });
  const button = element("button", { type: "button", class: "quiet", onclick: () => chooser.click() }, "Upload a photograph…");
  const state = element("p", { class: "hint", "aria-live": "polite" }, "or drop one here");
  const zone = element("div", { class: "drop" }, picture, element("div", { class: "drop-side" }, select, button, chooser, state));

  async function upload(file) {
    if (!file) return;
    state.textContent = `Uploading ${file.name}…`;
    try {
      const name = await uploadPicture(file);
      if (![...select.options].some((option) => option.value === name)) select.append(element("option", { value: name }, name));
      select.value = name;
      state.textContent = `Stored as ${name}.`;
      show();
      zone.dispatchEvent(new Event("input", { bubbles: true }));
    } catch (error) {
      state.textContent = `Not uploaded: ${error.message}`;
    }
  }
  chooser.addEventListener("change", () => {
    upload(chooser.files[0]);
    chooser.value = "";
  });
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.dataset.over = "";
  });
  zone.addEventListener("dragleave", () => delete zone.dataset.over);
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    delete zone.dataset.over;
    upload(event.dataTransfer.files[0]);
  });
  show();
  return { ...field(label, zone, { wide: true, labelled: select }), read: () => select.value };
}

/** What an input accepts when the server does not know the class: told from the value itself. */
function guessedKind(value) {
  if (typeof value === "number") return [Number.isInteger(value) ? "INT" : "FLOAT", {}];
  if (typeof value === "boolean") return ["BOOLEAN", {}];
  return ["STRING", {}];
}

/** An editor: `{element, read(), complain(message or null)}`. */
export function makeEditor(label, value, declared) {
  const [type, options = {}] = declared ?? guessedKind(value);
  const choices = Array.isArray(type) ? type : type === "COMBO" ? (options.options ?? []) : null;
  if (options.image_upload) return pictureEditor(label, value, choices ?? []);
  if (choices) return choiceEditor(label, value, choices);
  if (type === "INT" && options.display === "color") return colorEditor(label, value);
  if (type === "INT" || type === "FLOAT") return numberEditor(label, value, [type, options]);
  if (type === "BOOLEAN") return switchEditor(label, value);
  return textEditor(label, value, [type, options]);
}
