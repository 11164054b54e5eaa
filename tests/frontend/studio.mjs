// The page in the hands of a test: what a person does with it, what a person sees, and what went wrong meanwhile.

import { readFileSync } from "node:fs";

const PATIENCE = 20_000; // milliseconds until a condition that does not come true is an error

// What the front ends themselves say, wherever they are served from; the whole line, and which of the two says it, if one.
const HARMLESS = [
  ["a style sheet of the user, who has none: asked for at each start, and dropped when the answer is a 404",
    /^(404 GET|failed: GET|console: .* 404 \(Not Found\)) \S+:\d+(\/api\/userdata)?\/user\.css( net::ERR_ABORTED)?$/],
  ["templates of nodes and bookmarks, read before any was saved",
    /^(404 GET|console: .* 404 \(Not Found\)) \S+:\d+\/api\/userdata\/(comfy\.templates|workflows%2F\.index)\.json$/],
  ["folders of the user that are made when something is saved there",
    /^(404 GET|console: .* 404 \(Not Found\)) \S+:\d+\/api\/userdata\?dir=(workflows|subgraphs(%2F)?)&recurse=true&split=false&full_info=true$/],
  ["posts with an empty answer, which the page does not read: the browser drops it, and calls that a failure",
    /^failed: POST \S+:\d+\/api\/(queue|interrupt|settings\/Comfy\.[A-Za-z.]+) net::ERR_ABORTED$/],
  ["release notes and the registry of nodes, of a host that these tests keep out of reach",
    /^(failed: GET|console: .* net::ERR_NAME_NOT_RESOLVED) https:\/\/api\.comfy\.org\/(releases\?\S+|nodes\?node_id=comfy-core|comfy-nodes\/\w+\/node)( net::ERR_NAME_NOT_RESOLVED)?$/],
  ["the panes beside the graph are given in sizes that do not add up",
    /^console: WARNING: Invalid layout total size: [\d.%, ]+\. Layout normalization will be applied\. \S+\.js$/, "new"],
  ["code of its own, that of the mask editor among it, uses what it means to give up",
    /^console: (input\.link|\[MaskEditor\] ComfyApp\.open_maskeditor) is deprecated\. .+\.js$/, "new"],
  ["it loads the script of its old menu at each start, which says so",
    /^console: \[ComfyUI\] The legacy queue\/history menu is deprecated\. .+\.js$/, "new"],
  ["that these checks read colours from the canvas",
    /^console: Canvas2D: Multiple readback operations using getImageData are faster with .+$/],
  ["a browser with nothing stored: its first graph goes before it was drawn",
    /^console: Attempted to cleanup event listeners for graph that was never set up \S+\.js$/, "old"],
  ["each start: something is asked for its id before it is there",
    /^error in the page: TypeError: Cannot read properties of undefined \(reading 'id'\)$/, "old"],
];

export class Studio {
  constructor(page, url, isNew) {
    this.url = url;
    this.isNew = isNew; // jobs and assets instead of queue and history
    this.messages = []; // of the socket, JSON only, newest last
    this.listeners = new Set();
    this.requests = []; // "METHOD path"
    this.complaints = [];
    this.take(page);
  }

  /** Go on in this tab. */
  take(page) {
    this.page = page;
    page.setDefaultTimeout(PATIENCE);
    page.on("console", (said) => {
      if (["error", "warning"].includes(said.type())) this.complaints.push(`console: ${said.text()} ${said.location().url}`);
    });
    page.on("pageerror", (error) => this.complaints.push(`error in the page: ${error}`));
    page.on("requestfailed", (request) =>
      this.complaints.push(`failed: ${request.method()} ${request.url()} ${request.failure()?.errorText}`));
    page.on("response", (answer) => {
      this.requests.push(`${answer.request().method()} ${answer.url().slice(this.url.length)}`);
      if (answer.status() >= 400) this.complaints.push(`${answer.status()} ${answer.request().method()} ${answer.url()}`);
    });
    page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => {
      if (typeof payload !== "string") return;
      this.messages.push(JSON.parse(payload));
      for (const look of this.listeners) look();
    }));
  }

  // --- what went wrong

  takeComplaints() {
    const said = this.complaints.filter((each) => !HARMLESS.some(([, pattern, which]) =>
      which !== (this.isNew ? "old" : "new") && pattern.test(each)));
    this.complaints = [];
    return said;
  }

  /** Expect complaints, each matching one of the patterns; they are not told any more. */
  excuse(...patterns) {
    this.complaints = this.complaints.filter((each) => !patterns.some((pattern) => pattern.test(each)));
  }

  // --- what a person does

  async open() {
    await this.page.goto(this.url);
    await this.isReady();
  }

  /** Go on as on another computer: nothing of the browser's storage is there. The tab before is closed. */
  async openElsewhere() {
    const context = this.page.context();
    this.take(await (await context.browser().newContext({ viewport: this.page.viewportSize() })).newPage());
    await context.close();
    // Its first workflow wants nodes that are not offered here, which the old one tells in a dialog over all else.
    await this.page.addLocatorHandler(this.page.getByText("Some Nodes Are Missing"), () => this.page.keyboard.press("Escape"));
    await this.open();
  }

  async isReady() {
    await this.page.waitForFunction(() => window.app?.graph && window.LiteGraph?.registered_node_types?.StandAtDoor);
  }

  button(name, exact = true) {
    return this.page.getByRole("button", { name, exact });
  }

  run() {
    return this.button("Run").click();
  }

  /** Open a workflow file. `turn` tells the calls of its doors from others. */
  async load(workflow, turn) {
    const read = JSON.parse(readFileSync(new URL(`./workflows/${workflow}.json`, import.meta.url), "utf8"));
    for (const node of read.nodes.filter((each) => each.type === "StandAtDoor")) node.widgets_values[1] = turn;
    const file = { name: `${workflow}.json`, mimeType: "application/json", buffer: Buffer.from(JSON.stringify(read)) };
    await this.page.locator("#comfy-file-input").setInputFiles(file);
    await this.page.waitForFunction(
      ([types, turn]) => app.graph._nodes.map((node) => node.type).sort().join() === types
        && app.graph._nodes.every((node) => node.type !== "StandAtDoor" || node.widgets[1].value === turn),
      [read.nodes.map((node) => node.type).sort().join(), turn]);
  }

  /** Click into the row of a widget, so many pixels from the node's right edge. */
  async clickWidget(nodeId, name, fromRight) {
    const place = await this.page.evaluate(([nodeId, name, fromRight]) => {
      const node = app.graph.getNodeById(nodeId);
      const widget = node.widgets.find((each) => each.name === name);
      const { scale, offset } = app.canvas.ds;
      const canvas = app.canvas.canvas.getBoundingClientRect();
      return {
        x: canvas.left + (node.pos[0] + node.size[0] - fromRight + offset[0]) * scale,
        y: canvas.top + (node.pos[1] + (widget.last_y ?? widget.y) + 10 + offset[1]) * scale,
      };
    }, [nodeId, name, fromRight]);
    await this.page.mouse.move(place.x, place.y);
    await this.page.mouse.down();
    await this.page.mouse.up();
  }

  /** The answer to the request whose address has this part, made by an act. */
  async answerOf(part, act) {
    const [answer] = await Promise.all([this.page.waitForResponse((each) => each.url().includes(part)), act()]);
    return answer;
  }

  widget(nodeId, name) {
    return this.page.evaluate(([nodeId, name]) =>
      app.graph.getNodeById(nodeId).widgets.find((each) => each.name === name).value, [nodeId, name]);
  }

  // --- what a person sees

  title(pattern) {
    return this.page.waitForFunction((source) => new RegExp(source).test(document.title), pattern.source);
  }

  /** Nodes that are drawn with a green frame, by their ids as text. */
  framed(...ids) {
    return this.page.waitForFunction((wanted) => {
      const { scale, offset } = app.canvas.ds;
      const paint = app.canvas.canvas.getContext("2d");
      const isFramed = (node) => {
        const [x, y] = [(node.pos[0] - 8 + offset[0]) * scale, (node.pos[1] + 40 + offset[1]) * scale];
        const line = paint.getImageData(x, y, 8 * scale, 1).data;
        for (let at = 0; at < line.length; at += 4) {
          if (line[at] < 60 && line[at + 1] > 90 && line[at + 2] < 60) return true;
        }
        return false;
      };
      return app.graph._nodes.filter(isFramed).map((node) => String(node.id)).sort().join() === wanted;
    }, ids.map(String).sort().join());
  }

  /** How far the bar of a node is drawn: a part between 0 and 1, on steps of a twentieth. */
  bar(nodeId, part) {
    return this.page.waitForFunction(([nodeId, part]) => {
      const node = app.graph.getNodeById(nodeId);
      const { scale, offset } = app.canvas.ds;
      const [x, y] = [(node.pos[0] + offset[0]) * scale, (node.pos[1] + 3 + offset[1]) * scale];
      const line = app.canvas.canvas.getContext("2d").getImageData(x, y, node.size[0] * scale, 1).data;
      let green = 0;
      for (let at = 0; at < line.length; at += 4) green += line[at] < 60 && line[at + 1] > 90 && line[at + 2] < 60;
      return Math.abs(green / (line.length / 4) - part) < 0.05;
    }, [nodeId, part]);
  }

  /** A picture of this colour, `[red, green, blue]`, in the middle of a node. */
  picture(nodeId, colour) {
    return this.page.waitForFunction(([nodeId, colour]) => {
      const node = app.graph.getNodeById(nodeId);
      const { scale, offset } = app.canvas.ds;
      const [x, y] = [(node.pos[0] + node.size[0] / 2 + offset[0]) * scale, (node.pos[1] + offset[1]) * scale];
      const line = app.canvas.canvas.getContext("2d").getImageData(x, y, 1, node.size[1] * scale).data;
      let rows = 0;
      for (let at = 0; at < line.length; at += 4) {
        rows += colour.every((value, index) => Math.abs(line[at + index] - value) < 12);
      }
      return rows >= 16;
    }, [nodeId, colour]);
  }

  /** The first message of this type that fits, of those that came after `since` others. */
  message(type, fits = () => true, since = 0) {
    return new Promise((resolve, reject) => {
      const end = (act, value) => {
        clearTimeout(timer);
        this.listeners.delete(look);
        act(value);
      };
      const look = () => {
        const found = this.messages.slice(since).find((each) => each.type === type && fits(each.data));
        if (found) end(resolve, found.data);
      };
      const timer = setTimeout(() => end(reject, new Error(`no such message: ${type}`)), PATIENCE);
      this.listeners.add(look);
      look();
    });
  }

  // --- the doors of the pack

  async door(name, order) {
    const request = order === undefined ? {} : { method: "POST", body: JSON.stringify(order) };
    const answer = await fetch(`${this.url}/door/${name}`, { ...request, signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error(`door ${name}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  /** Wait until one more stands at a door than `before`: the id of its prompt. */
  async arrival(name, before) {
    return (await this.door(`${name}?arrived=${before + 1}`)).standing.at(-1);
  }

  /** Stop whatever runs and waits: what a failed check left behind must not be the next one's trouble. */
  async stopAll() {
    for (const [path, body] of [["queue", { clear: true }], ["interrupt", {}]]) {
      await fetch(`${this.url}/api/${path}`, { method: "POST", body: JSON.stringify(body) }).catch(() => {});
    }
  }

  async arrivals(name) {
    return (await this.door(`${name}?arrived=0`)).arrivals;
  }
}
