/** Uploads with their progress, and the table of jobs kept up to date while one is under way. */

import { announce, problemLine, showTimes, toast } from "../ui.js";

const EVERY = 1500;
const TEXTS = /** @type {Record<string, string>} */ (
  JSON.parse(document.getElementById("exchange-texts")?.textContent || "{}")
);
const room = document.getElementById("jobs");

/** @param {string} key @param {Record<string, string | number>} [values] */
function say(key, values = {}) {
  return (TEXTS[`exchange.say_${key}`] ?? "").replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

// Uploads: the file is the body, so that it goes to the disk as it comes.

/** @param {HTMLFormElement} form */
function upload(form) {
  const fields = new FormData(form);
  const file = /** @type {File} */ (fields.get("file"));
  const query = new URLSearchParams({ kind: form.dataset.upload ?? "items", name: file.name });
  for (const [name, value] of fields) if (typeof value === "string") query.set(name, value);
  const place = /** @type {HTMLElement} */ (form.querySelector(".upload"));
  const bar = /** @type {HTMLProgressElement} */ (place.querySelector("progress"));
  const words = /** @type {HTMLElement} */ (place.querySelector("span"));
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button.primary"));
  const request = new XMLHttpRequest();
  const ended = () => { place.hidden = true; button.disabled = false; };
  request.open("POST", `/api/v1/imports?${query}`);
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.upload.addEventListener("progress", (event) => {
    const share = event.lengthComputable && event.total ? Math.round((100 * event.loaded) / event.total) : 0;
    bar.value = share;
    words.textContent = `${share}%`;
  });
  request.addEventListener("load", () => {
    ended();
    if (request.status === 202) {
      form.reset();
      toast(say("uploaded"), "good");
      refresh();
    } else {
      toast(problemOf(request.responseText, request.getResponseHeader("content-language")), "bad", 15);
    }
  });
  request.addEventListener("error", () => { ended(); toast(say("offline"), "bad"); });
  place.hidden = false;
  button.disabled = true;
  announce(say("uploading"));
  request.send(file);
}

/** @param {string} text @param {string | null} language */
function problemOf(text, language) {
  try {
    return problemLine(JSON.parse(text).error, language);
  } catch {
    return say("failed");
  }
}

for (const form of document.querySelectorAll("form[data-upload]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    upload(/** @type {HTMLFormElement} */ (form));
  });
}

// Jobs

let timer = 0;

/** Fetch the table and put in what has changed; a row that somebody is using stays until they have left it. */
async function refresh() {
  clearTimeout(timer);
  try {
    const response = await fetch("/board/exchange/jobs", { headers: { Accept: "text/html" } });
    if (response.ok && room) renew(room, new DOMParser().parseFromString(await response.text(), "text/html"));
  } catch {
    // The network is away: the next look may find it.
  }
  again();
}

/** @param {HTMLElement} place @param {Document} fresh */
function renew(place, fresh) {
  const body = place.querySelector("tbody");
  const rows = [...fresh.querySelectorAll("tbody tr")];
  if (!body || !rows.length) {
    place.replaceChildren(...fresh.body.childNodes);
  } else {
    const before = new Map([...body.children].map((row) => [row.id, row]));
    body.replaceChildren(...rows.map((row) => chosen(before.get(row.id), row)));
  }
  showTimes(place);
}

/** @param {Element | undefined} old @param {Element} row */
function chosen(old, row) {
  if (!old) return row;
  if (old.contains(document.activeElement) && old.getAttribute("data-state") === row.getAttribute("data-state")) return old;
  if (old.getAttribute("data-state") !== row.getAttribute("data-state")) {
    announce(row.querySelector(".badge")?.textContent ?? "");
  }
  for (const open of old.querySelectorAll("details[open]")) {
    row.querySelector(`#${CSS.escape(open.id)}`)?.setAttribute("open", "");
  }
  return row;
}

function again() {
  const busy = room?.querySelector("tr[data-state='waiting'], tr[data-state='running']");
  if (busy) timer = setTimeout(refresh, document.hidden ? 4 * EVERY : EVERY);
}

again();
