// Opens a front end in Chromium and does what it is told: one line of JSON in, one line of JSON out.
//
//   in   {"check": "boots", "given": {...}}
//   out  {"said": {...}, "complaints": [...]} or {"error": "..."}
//
// Started as `node driver.mjs URL FOLDER_FOR_PICTURES old|new`; it ends with its standard input. All checks share one tab.

import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";

import { Studio } from "./studio.mjs";
import * as lists from "./checks/lists.mjs";
import * as opening from "./checks/opening.mjs";
import * as running from "./checks/running.mjs";
import * as saving from "./checks/saving.mjs";
import * as troubles from "./checks/troubles.mjs";

const CHECKS = { ...opening, ...running, ...lists, ...saving, ...troubles };
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
  // Nothing outside is asked, so that a run does not depend on what answers there.
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"];

const SECONDS_FOR_A_CHECK = 60;

const [url, pictures, generation] = process.argv.slice(2);
const require = createRequire(process.env.PLAYWRIGHT_FOLDER ? path.join(process.env.PLAYWRIGHT_FOLDER, "x") : import.meta.url);
const { chromium } = require("playwright-core");
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
const studio = new Studio(await context.newPage(), url, generation === "new");

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { check, given } = JSON.parse(line);
  let answer;
  try {
    const said = (await inTime(CHECKS[check](studio, given ?? {}))) ?? {};
    answer = { said, complaints: studio.takeComplaints() };
  } catch (error) {
    answer = { error: `${error.stack}\nconsole and network: ${JSON.stringify(studio.takeComplaints(), null, 1)}` };
  }
  await studio.page.screenshot({ path: path.join(pictures, `${check}.png`) });
  if (answer.error) await studio.stopAll();
  process.stdout.write(JSON.stringify(answer) + "\n");
}
await browser.close();

function inTime(check) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${SECONDS_FOR_A_CHECK} seconds`)), SECONDS_FOR_A_CHECK * 1000);
  });
  return Promise.race([check, late]).finally(() => clearTimeout(timer));
}
