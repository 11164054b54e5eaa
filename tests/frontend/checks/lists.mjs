// Queue and history (jobs and assets, in the new one), and cancelling.

import { isIdle } from "./running.mjs";

const RUNNING = /Running|Total/;
const MOST_ATTEMPTS = 5;

/** The side panel that lists what ran. */
async function openPanel(studio) {
  if (studio.isNew) {
    if (!(await studio.page.getByTestId("job-assets-list").isVisible())) {
      await studio.page.getByTestId("queue-overlay-toggle").click();
    }
    return;
  }
  if (!(await studio.page.locator("[data-virtual-grid-item]").first().isVisible())) {
    await studio.page.getByRole("button", { name: /^Queue \(q\)/ }).click();
  }
}

async function closePanel(studio) {
  if (studio.isNew) await studio.page.getByTestId("queue-overlay-toggle").click();
  else await studio.page.getByRole("button", { name: /^Queue \(q\)/ }).click();
}

/** Rows of the panel that hold a text. */
function rows(studio, text) {
  const row = studio.isNew ? "[data-job-id]" : "[data-virtual-grid-item]";
  return studio.page.locator(row).filter({ hasText: text });
}

/** What ran is listed with its picture, in the new one among the assets, too. */
export async function listsHistory(studio) {
  await openPanel(studio);
  const first = studio.page.locator(studio.isNew ? "[data-job-id]" : "[data-virtual-grid-item]").first();
  await first.locator("img").first().waitFor();
  await pictureIsLoaded(studio, first.locator("img").first());
  await closePanel(studio);
  if (!studio.isNew) return;
  await studio.page.getByTestId("assets-tab-button").click();
  const asset = studio.page.locator("img[src*='/api/view']").first();
  await asset.waitFor();
  await pictureIsLoaded(studio, asset);
  await studio.page.getByTestId("assets-tab-button").click();
}

async function pictureIsLoaded(studio, image) {
  await studio.page.waitForFunction((element) => element.complete && element.naturalWidth > 0, await image.elementHandle());
}

/** One runs and two wait: one that waits is taken away, then the one that runs is cancelled by the button. */
export async function cancels(studio) {
  const before = await studio.arrivals("left");
  for (const turn of [30, 31, 32]) {
    await studio.load("two_doors", turn);
    await studio.run();
  }
  const running = await studio.arrival("left", before);
  await openPanel(studio);
  const waiting = rows(studio, studio.isNew ? "In queue" : "Pending");
  await waiting.nth(1).waitFor();
  await rows(studio, RUNNING).first().waitFor();
  await cancelRow(studio, waiting.first());
  await studio.page.waitForFunction(([row, text]) => [...document.querySelectorAll(row)]
    .filter((each) => each.innerText.includes(text)).length === 1,
  studio.isNew ? ["[data-job-id]", "In queue"] : ["[data-virtual-grid-item]", "Pending"]);
  await studio.page.keyboard.press("Escape");
  await studio.button("Cancel current run").click();
  await studio.message("execution_interrupted", (data) => data.prompt_id === running);
  const next = await studio.arrival("left", before + 1);
  await cancelRow(studio, rows(studio, RUNNING).first());
  await studio.message("execution_interrupted", (data) => data.prompt_id === next);
  await isIdle(studio);
  await rows(studio, studio.isNew ? "Failed" : "Cancelled").first().waitFor();
  await closePanel(studio);
  return { arrivals: (await studio.arrivals("left")) - before };
}

/** Press what ends the job of a row. The list may be drawn anew at any moment, and the row under the mouse is then another. */
async function cancelRow(studio, row) {
  const { page } = studio;
  for (let attempt = 0; ; attempt++) {
    try {
      await page.mouse.move(0, 0);
      if (studio.isNew) {
        await row.hover();
        await row.getByRole("button", { name: "Cancel" }).click({ timeout: 1000 });
      } else {
        await row.click({ button: "right" });
        await page.getByRole("menuitem", { name: "Delete" }).click({ timeout: 1000 });
      }
      return;
    } catch (error) {
      if (attempt === MOST_ATTEMPTS) throw error;
    }
  }
}
