/**
 * The editors of questions and guidelines without reloading: what a button would bring as a new page is put into this one,
 * and a preview follows what is typed. Without this module every button still works.
 */

const form = /** @type {HTMLFormElement} */ (document.querySelector("form[data-editor]"));
const WAIT = 500;

let changed = false;
let asked = 0;
/** @type {number | undefined} */
let timer;

/** The page that the server makes of the form. @param {string} act @returns {Promise<{page: Document, address: string, number: number}>} */
async function send(act) {
  const data = new FormData(currentForm());
  data.set("do", act);
  const number = ++asked;
  const answer = await fetch(currentForm().action, { method: "POST", body: data });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return { page, address: answer.redirected ? answer.url : "", number };
}

const currentForm = () => /** @type {HTMLFormElement} */ (document.querySelector("form[data-editor]") ?? form);

/** Take parts of another page. @param {Document} page @param {(name: string) => boolean} wanted */
function take(page, wanted) {
  for (const part of document.querySelectorAll("[data-part]")) {
    const name = /** @type {HTMLElement} */ (part).dataset.part ?? "";
    const other = wanted(name) && page.querySelector(`[data-part="${CSS.escape(name)}"]`);
    if (other) part.replaceWith(document.importNode(other, true));
  }
  document.dispatchEvent(new Event("editor:changed"));
}

async function preview() {
  try {
    const { page, number } = await send("preview");
    if (number === asked) take(page, (name) => name === "preview" || name === "sample" || name === "messages");
  } catch {
    // Out of reach: the next letter tries again.
  }
}

document.addEventListener("input", (event) => {
  if (!currentForm().contains(/** @type {Node} */ (event.target))) return;
  changed = true;
  clearTimeout(timer);
  timer = setTimeout(preview, WAIT);
});

document.addEventListener("submit", async (event) => {
  const { submitter } = event;
  if (event.target !== currentForm() || !(submitter instanceof HTMLButtonElement)) return;
  if (submitter.value === "save") {
    changed = false; // the page that comes is the saved one, or the same with what is wrong
    return;
  }
  event.preventDefault();
  clearTimeout(timer);
  if (submitter.value === "preview") {
    await preview();
    document.getElementById("preview-title")?.scrollIntoView({ block: "nearest" });
    return;
  }
  changed = true;
  const { page, number } = await send(submitter.value);
  if (number !== asked) return;
  take(page, () => true);
  const place = document.getElementById(currentForm().dataset.place ?? "");
  place?.focus({ preventScroll: true });
  place?.scrollIntoView({ block: "nearest" });
});

addEventListener("beforeunload", (event) => {
  if (changed) event.preventDefault();
});
