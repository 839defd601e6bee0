/** An item with the edited question, on the same screen that raters get. Nothing that is chosen in it goes anywhere. */

import { Item } from "../studio/item.js";
import { Keys } from "../studio/keys.js";
import { Sheet } from "../studio/sheet.js";

const room = /** @type {HTMLElement} */ (document.getElementById("preview-room"));

/** @type {Sheet | null} */
let sheet = null;
let drawn = "";

function draw() {
  const data = document.querySelector("#sample script")?.textContent ?? "null";
  const showing = data === drawn ? null : JSON.parse(data);
  if (!showing) return; // nothing new, or the question is not sound yet: what was there stays
  drawn = data;
  const before = sheet?.state ?? null;
  sheet?.close();
  const item = new Item(showing);
  room.replaceChildren(item.element);
  sheet = new Sheet(showing, item, new Keys({}, { enabled: false }), () => {});
  sheet.restore(before);
}

document.addEventListener("editor:changed", draw);
draw();
