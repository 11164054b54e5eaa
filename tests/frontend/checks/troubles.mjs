// Errors that a person has to see, and a server that goes away.

import { isIdle, RED } from "./running.mjs";

/** A node that fails is named, with its message. */
export async function showsFailure(studio) {
  const before = await studio.arrivals("left");
  await studio.load("two_doors", 40);
  await studio.run();
  await studio.arrival("left", before);
  await studio.door("left", { do: "fail" });
  if (studio.isNew) await studio.button("View details").click();
  await studio.page.getByText("The door was slammed.").first().waitFor();
  await isIdle(studio, studio.isNew); // the title of the old one keeps the failed node until the next run
  await closeDialog(studio);
}

/** A prompt that cannot run is refused in words. */
export async function showsRefusal(studio) {
  await studio.load("two_doors", 41);
  await studio.page.evaluate(() => app.graph.getNodeById(4).disconnectInput(0));
  await studio.page.evaluate(() => app.graph.getNodeById(5).disconnectInput(0));
  const answer = await studio.answerOf("/api/prompt", () => studio.run());
  await studio.page.getByText(/required input/i).first().waitFor();
  await closeDialog(studio);
  studio.excuse(/^400 POST .*\/api\/prompt$/, / 400 \(Bad Request\)/, /PromptExecutionError/);
  return { status: answer.status() };
}

/** The old one tells of errors in a dialog that covers all else. */
async function closeDialog(studio) {
  if (studio.isNew) return;
  const dialog = studio.page.getByRole("dialog");
  await studio.page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
}

/** To be called before the server goes away; `isBack` afterwards. */
export async function looksAway(studio) {
  studio.seen = studio.messages.length;
}

/** The page has a socket again, with its old id, and runs. */
export async function isBack(studio) {
  await studio.message("status", (data) => data.sid !== undefined, studio.seen);
  const before = await studio.arrivals("left");
  await studio.load("two_doors", 50);
  await studio.run();
  await studio.arrival("left", before);
  await studio.framed(2, 3);
  await studio.door("left", { do: "open" });
  await studio.door("right", { do: "open" });
  await studio.picture(4, RED);
  await isIdle(studio);
  studio.excuse(/WebSocket connection to/, /ERR_CONNECTION_REFUSED/, / 503 /, /Failed to fetch/);
}
