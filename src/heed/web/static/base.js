/** What every page does: times in the reader's zone, dialogs and menus by the buttons that name them. */

import { showTimes } from "./ui.js";

/** @param {string | undefined} id @returns {HTMLDialogElement | null} */
const dialogOf = (id) => /** @type {HTMLDialogElement | null} */ (id ? document.getElementById(id) : null);

document.addEventListener("click", (event) => {
  const target = /** @type {Element} */ (event.target);
  const opener = target.closest("[data-opens]");
  const closer = target.closest("[data-closes]");
  if (opener instanceof HTMLElement) dialogOf(opener.dataset.opens)?.showModal();
  if (closer instanceof HTMLElement) dialogOf(closer.dataset.closes)?.close();
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (!menu.contains(target)) menu.removeAttribute("open");
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.querySelector("details[data-menu][open]");
  menu?.removeAttribute("open");
  if (menu?.contains(document.activeElement)) menu.querySelector("summary")?.focus();
});

showTimes();
setInterval(() => {
  if (!document.hidden && document.querySelector("time[data-time='relative']")) showTimes();
}, 30_000);
