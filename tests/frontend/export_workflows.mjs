// Has a page build workflows, and prints for each what the page saves and what it would post, as one line of JSON:
//
//   {"reroutes": {"file": {...}, "kept": {...}, "output": {...}}, ...}
//
// `file` is what goes into a file, `kept` what is sent beside a prompt, and `output` the prompt.
// Started as `node export_workflows.mjs URL old|new` for a server that no front end was opened on yet.

import { createRequire } from "node:module";
import path from "node:path";

import { opens } from "./checks/opening.mjs";
import { Studio } from "./studio.mjs";

const require = createRequire(process.env.PLAYWRIGHT_FOLDER ? path.join(process.env.PLAYWRIGHT_FOLDER, "x") : import.meta.url);
const { chromium } = require("playwright-core");
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
});
const [url, generation] = process.argv.slice(2);
const studio = new Studio(await browser.newPage(), url, generation === "new");
// Wait for the dialog at the end of the first start: before it the page opens a workflow, which would replace ours.
await opens(studio);
const exported = await studio.page.evaluate(exportAll);
process.stdout.write(JSON.stringify(exported) + "\n");
await browser.close();

/** Runs in the page. */
async function exportAll() {
  const graph = () => app.graph.rootGraph ?? app.graph;
  const drawn = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));

  function add(type, values = {}) {
    const node = LiteGraph.createNode(type);
    if (!node) throw new Error(`there is no class ${type}`);
    app.graph.add(node);
    for (const [name, value] of Object.entries(values)) node.widgets.find((each) => each.name === name).value = value;
    return node;
  }
  const slotOf = (node, name) => node.inputs.findIndex((each) => each.name === name || each.widget?.name === name);
  function connect(source, slot, target, name) {
    if (!source.connect(slot, target, typeof name === "number" ? name : slotOf(target, name))) {
      throw new Error(`${source.type} cannot be connected with ${name} of ${target.type}`);
    }
    return target;
  }
  const show = (source, slot = 0) => connect(source, slot, add("PreviewImage"), "images");
  const inSubgraph = (...nodes) => app.graph.convertToSubgraph(new Set(nodes)).node;
  const image = (width) => add("EmptyImage", { width, height: 16 });
  const inverted = (source) => connect(source, 0, add("ImageInvert"), "image");
  const primitive = async (target, name, value) => {
    const node = add("PrimitiveNode");
    connect(node, 0, target, name);
    await drawn();
    node.widgets[0].value = value;
    return node;
  };
  const blend = (first, second) => connect(second, 0, connect(first, 0, add("ImageBlend"), "image1"), "image2");

  const WORKFLOWS = {
    widgets() {
      const scaled = connect(image(8), 0, add("ImageScale", { upscale_method: "bilinear", width: 9, crop: "center" }), "image");
      show(scaled);
      add("CaseConverter", { string: "two\nlines", mode: "lowercase" });
      show(add("LoadImage"));
      connect(scaled, 0, add("SaveImage", { filename_prefix: "%EmptyImage.width% of %date:yyyy%" }), "images");
    },
    titles() {
      const named = image(8);
      named.title = "My own";
      connect(named, 0, add("SaveImage", { filename_prefix: "%My own.width%" }), "images");
    },
    seeds() {
      const seed = add("PrimitiveInt", { value: 12, control_after_generate: "increment" });
      show(connect(seed, 0, image(8), "width"));
    },
    async primitives() {
      const first = image(8);
      const second = image(8);
      const node = await primitive(first, "width", 77);
      connect(node, 0, second, "height");
      show(first), show(second);
      const words = add("CaseConverter");
      await primitive(words, "mode", "Title Case");
    },
    async mutedPrimitive() {
      const node = image(8);
      (await primitive(node, "width", 78)).mode = 2;
      show(node);
    },
    reroutes() {
      const first = connect(image(8), 0, add("Reroute"), 0);
      show(connect(first, 0, add("Reroute"), 0));
      show(add("Reroute"));
      const bypassed = connect(image(9), 0, add("Reroute"), 0);
      bypassed.mode = 4;
      show(bypassed);
    },
    mutedReroute() {
      const muted = connect(image(8), 0, add("Reroute"), 0);
      muted.mode = 2;
      show(muted);
    },
    reroutesOfLinks() {
      const link = image(8).connect(0, add("PreviewImage"), 0);
      app.graph.createReroute([10, 10], link);
    },
    notes() {
      add("Note"), add("MarkdownNote"), show(image(8));
      app.graph.add(new LiteGraph.LGraphGroup("a group"));
    },
    muted() {
      const muted = image(8);
      muted.mode = 2;
      show(muted), show(image(9));
    },
    mutedNumber() {
      const number = add("PrimitiveInt", { value: 5 });
      number.mode = 2;
      show(connect(number, 0, image(8), "width"));
    },
    bypassed() {
      const blended = blend(image(8), image(9));
      blended.mode = 4;
      show(blended);
      const row = [inverted(image(10))];
      row.push(inverted(row[0]));
      for (const each of row) each.mode = 4;
      show(row[1]);
    },
    bypassedWithoutInput() {
      const blended = connect(image(9), 0, add("ImageBlend"), "image2");
      blended.mode = 4;
      show(blended);
    },
    bypassedNumber() {
      const size = connect(image(8), 0, add("GetImageSize"), "image");
      size.mode = 4;
      show(connect(size, 0, image(9), "width"));
    },
    subgraph() {
      const middle = inverted(image(8));
      show(middle);
      inSubgraph(middle);
    },
    subgraphWithLinkedWidget() {
      const made = connect(add("PrimitiveInt", { value: 33 }), 0, image(8), "width");
      show(made);
      inSubgraph(made);
    },
    async subgraphWithWidget() {
      const made = connect(add("PrimitiveInt"), 0, image(8), "width");
      show(made);
      const outer = inSubgraph(made);
      outer.disconnectInput(0);
      await drawn();
      outer.widgets[0].value = 44;
    },
    async subgraphsWithinEachOther() {
      const number = add("PrimitiveInt");
      const made = connect(number, 0, connect(number, 0, image(8), "width"), "height");
      show(made);
      const outer = inSubgraph(inSubgraph(made));
      outer.disconnectInput(0);
      await drawn();
      outer.widgets[0].value = 55;
    },
    subgraphTwice() {
      const source = image(8);
      const middle = inverted(source);
      show(middle);
      const again = add(inSubgraph(middle).type);
      show(connect(source, 0, again, "image"));
    },
    subgraphThatPassesOn() {
      const middle = connect(image(8), 0, add("Reroute"), 0);
      show(middle);
      inSubgraph(middle);
    },
    subgraphWithBypassedNode() {
      const first = inverted(image(8));
      const second = inverted(first);
      show(second);
      first.mode = 4;
      inSubgraph(first, second);
    },
    bypassedSubgraph() {
      const middle = inverted(image(8));
      show(middle);
      inSubgraph(middle).mode = 4;
    },
    mutedSubgraph() {
      const middle = inverted(image(8));
      show(middle);
      inSubgraph(middle).mode = 2;
    },
  };

  const exported = {};
  for (const [name, build] of Object.entries(WORKFLOWS)) {
    app.graph.clear();
    try {
      await build();
      await drawn();
      const { workflow, output } = await app.graphToPrompt();
      // Copies: the page goes on with what it gave.
      exported[name] = JSON.parse(JSON.stringify({ file: graph().serialize(), kept: workflow, output }));
    } catch (error) {
      throw new Error(`${name}: ${error.stack}`);
    }
  }
  return exported;
}
