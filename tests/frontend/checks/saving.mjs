// What outlasts a reload: workflows, settings; and files that are uploaded.

const NAME = "kept by me";
const LISTED = /^kept by me(\.json)?$/;
const FILE = "/api/userdata/workflows%2Fkept%20by%20me.json";
const TURN = 77;
const MAP = ".litegraph-minimap";

/** Save under a name and hide the map: both are there after a reload, and on a computer that knows nothing of it. */
export async function saves(studio) {
  const { page } = studio;
  await studio.load("two_doors", TURN);
  await page.keyboard.press("Control+s");
  const name = page.getByRole("dialog").locator("input").first();
  await name.waitFor();
  await name.fill(NAME);
  const saved = await studio.answerOf(FILE, () => name.press("Enter"));
  const map = page.locator(MAP);
  await map.waitFor();
  const close = page.getByTestId(studio.isNew ? "close-minimap-button" : "close-minmap-button");
  await studio.answerOf("/api/settings/Comfy.Minimap.Visible", () => close.click());
  await map.waitFor({ state: "hidden" });
  await page.reload();
  await studio.isReady();
  await studio.button("Run").waitFor();
  await isShown(studio);
  await studio.openElsewhere();
  await studio.button(/^Workflows \(w\)/).click();
  const opened = await studio.answerOf(FILE, () => studio.page.getByText(LISTED).last().click());
  await isShown(studio);
  await studio.button(/^Workflows \(w\)/).click();
  return { saved: saved.status(), opened: opened.status(), mapIsHidden: !(await studio.page.locator(MAP).isVisible()) };
}

async function isShown(studio) {
  await studio.page.waitForFunction((turn) => {
    const doors = app.graph._nodes.filter((node) => node.type === "StandAtDoor");
    return doors.length === 2 && doors.every((node) => node.widgets[1].value === turn);
  }, TURN);
}

/** Give a file to the button of a LoadImage node, and run it. */
export async function uploads(studio, { file }) {
  const { page } = studio;
  const [load, show] = [11, 12];
  await studio.load("one_picture");
  await page.waitForFunction((id) => app.graph.getNodeById(id).imgs?.length, load);
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), studio.clickWidget(load, "upload", 120)]);
  const answer = await studio.answerOf("/api/upload/image", () => chooser.setFiles(file));
  await studio.picture(load, [255, 128, 0]);
  await studio.run();
  await studio.picture(show, [255, 128, 0]);
  return { status: answer.status(), value: await studio.widget(load, "image") };
}
