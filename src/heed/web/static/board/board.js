/** What every page of the board does: copy a link that is shown once, and bring the current place into view. */

import { announce } from "../ui.js";

document.addEventListener("click", async (event) => {
  const button = /** @type {Element} */ (event.target).closest("[data-copies]");
  if (!(button instanceof HTMLElement)) return;
  const source = document.getElementById(button.dataset.copies ?? "");
  if (!(source instanceof HTMLInputElement)) return;
  source.select();
  try {
    await navigator.clipboard.writeText(source.value);
    button.textContent = button.dataset.copied ?? "";
    announce(button.dataset.copied ?? "");
  } catch {
    // Without leave to use the clipboard the link is selected, and can be copied by hand.
  }
});

document.querySelector(".board-tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
