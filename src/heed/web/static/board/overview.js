/**
 * Keeps the overview up to date. The server tells when something has changed (server-sent events, or a question every few
 * seconds where those do not come through); the page is then fetched once more and what has changed in it is put in place.
 */

import { announce, showTimes } from "../ui.js";

const POLL = 10_000;
const QUIET = 60_000;
const BACK_OFF = 30_000;

const live = /** @type {HTMLElement} */ (document.getElementById("live"));
const state = /** @type {HTMLElement} */ (document.getElementById("live-state"));

let shown = live.dataset.revision ?? "";
let told = performance.now();
let busy = false;
/** @type {number | undefined} */
let poll;

/** Put what has changed in the page in its place. What has the focus is left alone until the next time. */
async function refresh() {
  const answer = await fetch("/board", { headers: { accept: "text/html" } });
  if (!answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("live");
  if (!fresh) return;
  let waits = false;
  for (const part of document.querySelectorAll("[data-live]")) {
    const name = /** @type {HTMLElement} */ (part).dataset.live ?? "";
    const other = page.querySelector(`[data-live="${CSS.escape(name)}"]`);
    if (!other) continue;
    showTimes(other);
    if (part.innerHTML === other.innerHTML) continue;
    if (part.contains(document.activeElement)) waits = true;
    else part.replaceChildren(...document.importNode(other, true).childNodes);
  }
  if (!waits) shown = fresh.dataset.revision ?? shown;
  if (performance.now() - told > QUIET) {
    told = performance.now();
    announce(live.dataset.changed ?? "");
  }
}

/** @param {number | string} revision */
async function changed(revision) {
  if (busy || String(revision) === shown || document.hidden) return;
  busy = true;
  try {
    await refresh();
  } finally {
    busy = false;
  }
}

/** @param {boolean} on */
function say(on) {
  state.classList.toggle("on", on);
  state.textContent = (on ? state.dataset.on : state.dataset.off) ?? "";
}

async function ask() {
  try {
    const answer = await fetch("/api/v1/board/overview");
    if (answer.ok) await changed((await answer.json()).overview.revision);
  } catch {
    // Out of reach: the next time is soon enough.
  }
}

function listen() {
  const source = new EventSource("/api/v1/board/events");
  source.addEventListener("open", () => {
    clearInterval(poll);
    poll = undefined;
    say(true);
  });
  source.addEventListener("overview", (event) => {
    changed(JSON.parse(/** @type {MessageEvent} */ (event).data).revision).catch(() => {});
  });
  source.addEventListener("error", () => {
    if (source.readyState !== EventSource.CLOSED) return; // it tries again by itself
    say(false);
    poll ??= setInterval(ask, POLL);
    setTimeout(listen, BACK_OFF);
  });
}

listen();
