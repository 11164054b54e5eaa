// A run as a person sees it: borders, bars, previews, pictures, the title.

export const RED = [255, 0, 0];
export const GREEN = [0, 255, 0];
export const BLUE = [0, 0, 255];

/** Two nodes at once, each with a bar and a preview of its own, then their pictures. */
export async function runs(studio) {
  await studio.load("two_doors", 10);
  await studio.clickWidget(2, "turn", 25);
  await studio.page.waitForFunction(() => app.graph.getNodeById(2).widgets[1].value === 11);
  const before = await studio.arrivals("right");
  await studio.run();
  const prompt = await studio.arrival("right", before);
  await studio.framed(2, 3);
  await studio.title(/^\[\d+%\]\[2 nodes running\]/);
  await studio.door("left", { do: "progress", value: 3, max: 10, preview: "#00ff00" });
  await studio.door("right", { do: "progress", value: 6, max: 8, preview: "#0000ff" });
  await studio.bar(2, 0.3);
  await studio.bar(3, 0.75);
  await studio.picture(2, GREEN);
  await studio.picture(3, BLUE);
  await studio.door("left", { do: "open" });
  await studio.picture(4, RED);
  await studio.framed(3);
  await studio.title(/\[75%\] /);
  await studio.door("right", { do: "open" });
  await studio.picture(5, RED);
  await isIdle(studio);
  const sent = await studio.page.evaluate((id) => fetch(`/api/history/${id}`).then((answer) => answer.json()), prompt);
  return { turn: sent[prompt].prompt[2]["2"].inputs.turn, outputs: Object.keys(sent[prompt].outputs).sort() };
}

/** The same workflow once more, unchanged: everything is in the cache, and the pictures are shown. */
export async function runsFromCache(studio) {
  const since = studio.messages.length;
  await studio.run();
  await studio.message("execution_success", () => true, since);
  await studio.picture(4, RED);
  await studio.picture(5, RED);
  await isIdle(studio);
}

/** Two prompts of one tab: what is shown is always what runs. */
export async function runsTwo(studio) {
  const before = await studio.arrivals("right");
  for (const turn of [20, 21]) {
    await studio.load("two_doors", turn);
    await studio.run();
  }
  const first = await studio.arrival("right", before);
  await studio.door("left", { do: "open", prompt_id: first });
  await studio.picture(4, RED);
  await studio.door("right", { do: "open", prompt_id: first });
  await studio.message("execution_success", (data) => data.prompt_id === first);
  const second = await studio.arrival("right", before + 1);
  await studio.framed(2, 3);
  await studio.title(/\[2 nodes running\]/);
  await studio.button("Cancel current run").and(studio.page.locator(":enabled")).waitFor();
  await studio.door("left", { do: "progress", value: 5, max: 10, prompt_id: second });
  await studio.bar(2, 0.5);
  await studio.door("left", { do: "open", prompt_id: second });
  await studio.door("right", { do: "open", prompt_id: second });
  await isIdle(studio);
}

/** No frame, no percentage, nothing to cancel. */
export async function isIdle(studio, inTitle = true) {
  await studio.framed();
  if (inTitle) await studio.title(/^[^[]*$/);
  await studio.button("Cancel current run").and(studio.page.locator(":disabled")).waitFor();
}
