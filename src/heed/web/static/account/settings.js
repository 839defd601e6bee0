/** Settings: a key is taken as it is pressed, and a new token is copied by a button. */

import { toast } from "../ui.js";

const NAMED = new Set(["Enter", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"]);

for (const field of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("input[data-key]"))) {
  field.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Backspace" || event.key === "Delete") field.value = "";
    else if (event.key.length === 1 && event.key !== " ") field.value = event.key.toLowerCase();
    else if (NAMED.has(event.key)) field.value = event.key;
    else return; // Tab and Escape do what they always do
    event.preventDefault();
  });
}

for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("button[data-copies]"))) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copies ?? "")?.textContent ?? "";
    await navigator.clipboard.writeText(text);
    toast(button.dataset.copied ?? "", "good");
  });
}
