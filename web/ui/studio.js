// The page: makes the parts, and says who hears whom. Facts come in by the connection and by `synchronise`,
// are kept in the run log, and the views are drawn from there, at most once a frame.

import * as api from "./api.js";
import { Connection, randomId, rememberSince, rememberedClientId, rememberedSince } from "./connection.js";
import { element, seconds, setText } from "./dom.js";
import { GalleryView } from "./gallery_view.js";
import { PacksView } from "./packs_view.js";
import { QueueView } from "./queue_view.js";
import { RunLog, isOver } from "./run_log.js";
import { RunsView } from "./run_view.js";
import { WorkflowView } from "./workflow_view.js";

const NEWEST_RUNS = 20;
const PAUSE_BETWEEN_LISTINGS = 250;

const byId = (id) => document.getElementById(id);
const clientId = rememberedClientId();
const connection = new Connection(clientId, rememberedSince());
const log = new RunLog(() => connection.seen);
const runButton = byId("run");

const workflow = new WorkflowView({ onRun: run });
const titleOf = workflow.titleOf;
const gallery = new GalleryView();
const queue = new QueueView({
  onStop: stop,
  onClear: () => attempt(api.clearPending()),
  onPause: (pause) => attempt(pause ? api.pauseQueue() : api.resumeQueue()).then(synchroniseSoon),
});
const packs = new PacksView({ announce });
const runsView = new RunsView({
  titleOf,
  onSelect: select,
  onStop: (each) => stop(each.id, each.state === "running"),
  onPicture: (url, caption) => gallery.open(url, caption),
});

let examples = [];
let pinnedId = null; // a run that a person chose to see in the graph

// ---- asking the server

async function run(example, prompt) {
  const id = randomId();
  workflow.clearRefusal();
  pinnedId = null;
  log.submitting(id, example.title, prompt);
  try {
    // The id is ours, since frames may come before the answer does.
    const submission = { prompt, prompt_id: id, client_id: clientId, extra_data: { title: example.title } };
    const { number, node_errors } = await api.submit(submission);
    log.accepted(id, number);
    if (Object.keys(node_errors ?? {}).length) workflow.showRefusal({ nodeErrors: node_errors, prompt, partly: true });
  } catch (error) {
    log.refused(id);
    const body = error.body;
    workflow.showRefusal({ error: body?.error?.message ? body.error : error, nodeErrors: body?.node_errors, prompt });
  }
}

async function stop(id, running) {
  await attempt(running ? api.interrupt(id) : api.deletePending(id));
  if (!running) log.removed(id);
  synchroniseSoon();
}

async function attempt(request, done) {
  try {
    await request;
    if (done) announce(done);
  } catch (error) {
    announce(error.message);
  }
}

byId("forget-results").addEventListener("click", (event) => {
  attempt(api.forgetResults(), "The server forgot its cached results.");
  const button = event.currentTarget;
  const word = button.textContent;
  setText(button, "Forgotten");
  button.disabled = true;
  setTimeout(() => {
    setText(button, word);
    button.disabled = false;
  }, 1500);
});

/** Read queue and history: at the start, after a broken connection, and whenever the queue has changed. */
async function synchronise() {
  const askedAt = performance.now();
  const [listing, history] = await Promise.all([api.readQueue(), api.readHistory(NEWEST_RUNS)]);
  log.adoptHistory(history);
  queue.show(listing);
  for (const id of log.adoptQueue(listing, askedAt)) {
    const entry = await api.readHistoryOf(id);
    if (entry && id in entry) log.adoptHistory(entry);
    else if (await wasTakenAway(id)) log.removed(id);
    else log.lost(id);
  }
  await learnOutcomes();
}

/** Whether it was cancelled while it waited, by whomever: that is a job, and no history. */
async function wasTakenAway(id) {
  try {
    return (await api.readJob(id))?.status === "cancelled";
  } catch (error) {
    if (error.status === 404) return false;
    throw error;
  }
}

/** How runs failed, where frames and history do not say it: wholly, in part, or with the server. */
async function learnOutcomes() {
  const unsure = log.withoutOutcome();
  if (!unsure.length) return;
  const { jobs } = await api.readJobs({ status: "failed", limit: 5 * NEWEST_RUNS });
  const known = new Map(jobs.map((job) => [job.id, job]));
  for (const id of unsure) {
    const job = known.get(id) ?? null;
    log.adoptJob(id, job?.outcome === "partial_success" ? await api.readJob(id) : job);
  }
}

let listing = null; // the pause and the requests that are under way
let askAgain = false;
function synchroniseSoon() {
  askAgain = listing !== null;
  if (askAgain) return;
  listing = new Promise((resolve) => setTimeout(resolve, PAUSE_BETWEEN_LISTINGS))
    .then(synchronise)
    .catch((error) => {
      console.warn("Queue and history could not be read.", error);
      if (error instanceof api.Unreachable) connection.doubt();
    })
    .finally(() => {
      listing = null;
      if (askAgain) synchroniseSoon();
    });
}

async function showServerFacts() {
  try {
    const { system = {} } = await api.readSystemStats();
    const python = (system.python_version ?? "").split(" ")[0];
    const facts = [python && `Python ${python}`, system.pytorch_version && `torch ${system.pytorch_version}`];
    setText(byId("server-facts"), facts.filter(Boolean).join(", "));
  } catch {
    setText(byId("server-facts"), "");
  }
}

// ---- hearing the server

connection.addEventListener("state", ({ detail: { state, seconds: pause } }) => {
  const pill = byId("connection");
  pill.dataset.state = state;
  document.body.dataset.connection = state;
  setText(pill, state === "connected" ? "Connected" : pause > 1.5 ? `Reconnecting in ${Math.round(pause)} s` : "Reconnecting");
  if (state !== "connected") return;
  synchroniseSoon();
  showServerFacts();
  packs.refresh();
  loadExamples();
});

let hasGap = false; // some of what was missed cannot be told any more
connection.addEventListener("message", ({ detail: message }) => {
  if (message.type === "status") {
    queue.showRemaining(message.data?.status?.exec_info?.queue_remaining ?? 0);
    synchroniseSoon();
  } else if (message.type === "replay_gap") hasGap = true;
  else if (message.type === "snapshot") {
    log.receiveSnapshot(message.data, message.seq, hasGap);
    queue.showPaused(message.data?.queue?.is_paused === true);
    hasGap = false;
    synchroniseSoon();
  } else log.receive(message);
  rememberSoon();
});

connection.addEventListener("binary", ({ detail: frame }) => {
  if (frame.kind === "preview") log.receivePreview(frame);
  else log.receiveText(frame);
});

// ---- drawing

const changed = new Set();
let picturesChanged = false;
let drawing = false;

log.addEventListener("change", ({ detail }) => {
  changed.add(detail.id);
  picturesChanged ||= detail.outputs.size > 0 || isOver(detail);
  drawSoon();
});

log.addEventListener("finish", ({ detail }) => {
  if (detail.acceptedAt === Infinity) return;
  const words = { succeeded: "is done", failed: `failed: ${detail.errors[0]?.exception_message ?? ""}`, interrupted: "was interrupted" };
  if (words[detail.state]) announce(`${detail.title} ${words[detail.state]}${detail.took ? ` after ${seconds(detail.took)}` : ""}.`);
});

function drawSoon() {
  if (drawing) return;
  drawing = true;
  // Not requestAnimationFrame: it stops in hidden tabs, where the page should be up to date too.
  setTimeout(() => {
    drawing = false;
    draw();
  }, 16);
}

/** The run that lights the graph: the chosen one, else the newest that runs, else the newest. */
function followed(runs) {
  const ofExample = runs.filter(({ title }) => title === workflow.example?.title);
  const pinned = ofExample.find(({ id }) => id === pinnedId);
  return pinned ?? ofExample.find(({ state }) => state === "running") ?? ofExample[0] ?? null;
}

let shownBefore = null;
function draw() {
  const runs = log.newestFirst();
  const shown = followed(runs);
  runsView.show(runs, shown?.id, shownBefore === shown?.id ? changed : null);
  shownBefore = shown?.id;
  if (picturesChanged) gallery.show(runs, titleOf);
  if (workflow.example) workflow.show(shown);
  changed.clear();
  picturesChanged = false;
}

// A reload of the tab is told all of the runs that go on.
let remembering = false;
function rememberSoon() {
  if (remembering) return;
  remembering = true;
  setTimeout(() => {
    remembering = false;
    rememberSince(log.since());
  }, 50);
}
addEventListener("pagehide", () => rememberSince(log.since()));

setInterval(() => connection.isOpen && runsView.tick(log.newestFirst()), 100);
setInterval(() => connection.isOpen && queue.tick(), 1000);

// Frames say all there is to say; should one be missed, a listing sets it right.
setInterval(() => {
  if (connection.isOpen && (queue.isBusy || log.newestFirst().some((each) => !isOver(each)))) synchroniseSoon();
}, 5000);

// A machine that slept may have lost its line without having been told.
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && connection.isOpen && synchroniseSoon());

function announce(text) {
  setText(byId("announcer"), text);
}

// ---- choosing

function select(each) {
  pinnedId = each.id;
  const example = examples.find(({ title }) => title === each.title);
  if (example && example !== workflow.example) byId(`example-${example.key}`).click();
  drawSoon();
}

async function choose(example) {
  history.replaceState(null, "", `#${example.key}`);
  await workflow.choose(example);
  runButton.disabled = false;
  drawSoon();
}

let examplesAsked = false;
async function loadExamples() {
  if (examplesAsked) return;
  examplesAsked = true;
  try {
    examples = await api.readExamples();
  } catch (error) {
    examplesAsked = false; // The next connection tries again.
    byId("examples").replaceChildren(element("p", { class: "muted" }, `The examples cannot be read. ${error.message}`));
    return;
  }
  const wanted = examples.find(({ key }) => `#${key}` === location.hash) ?? examples[0];
  byId("examples").replaceChildren(
    ...examples.map((example) => {
      const id = `example-${example.key}`;
      const radio = element("input", {
        type: "radio",
        name: "example",
        id,
        checked: example === wanted,
        "aria-labelledby": `${id}-title`,
        "aria-describedby": `${id}-description`,
        onchange: () => choose(example),
      });
      return element(
        "label",
        { class: "example" },
        radio,
        element("strong", { id: `${id}-title` }, example.title),
        element("span", { id: `${id}-description` }, example.description),
      );
    }),
  );
  choose(wanted);
}

// A picture that misses its place must not replace the page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());

loadExamples();
connection.open();
