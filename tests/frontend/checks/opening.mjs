// The first load on an empty profile, and the dialog with templates.

/** Opens the page for the first time: the dialog of templates comes by itself, and is closed. */
export async function opens(studio) {
  await studio.open();
  await closeTemplates(studio);
  await studio.message("feature_flags");
}

/** A pack's example is listed, and opens as a workflow. */
export async function opensTemplate(studio) {
  await studio.button("Templates").first().click();
  if (studio.isNew) await studio.page.getByRole("button", { name: "door_pack" }).click();
  await studio.page.getByText("two_doors", { exact: true }).first().click();
  await studio.page.waitForFunction(() =>
    app.graph._nodes.length === 5 && app.graph._nodes.filter((node) => node.type === "StandAtDoor").length === 2);
}

async function closeTemplates(studio) {
  const dialog = studio.isNew ? studio.page.getByText("Templates", { exact: true }).first()
    : studio.page.getByText("Get Started with a Template");
  await dialog.waitFor();
  await studio.page.getByText("door_pack").first().waitFor();
  await studio.page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
  await studio.button("Run").waitFor();
}
