/** The frame around the item: what is busy, what can be pressed, what is said where there is no item. */

import { make, t } from "./dom.js";

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

const BUTTONS = ["submit", "undo", "skip", "flag"];

export class Screen {
  /** @param {() => void} again looks for an item once more */
  constructor(again) {
    this.again = again;
    // Messages keep clear of the bar, and what has the focus of the notices, however many lines they have.
    keepHeight(byId("bar"), "--bar");
    keepHeight(byId("banners"), "--notices");
  }

  /** Show an item, from its beginning. @param {HTMLElement} item @param {string[]} tags names of texts */
  put(item, tags) {
    byId("tags").replaceChildren(...tags.map((name) => make("span", { class: "badge accent", text: t(name) })));
    byId("item").replaceChildren(item);
    byId("item").setAttribute("aria-busy", "false");
    byId("bar").hidden = false;
    this.enable(BUTTONS);
    this.toTop();
  }

  /** The next item is being fetched. @param {boolean} undo whether there is something to undo meanwhile */
  wait(undo) {
    byId("tags").replaceChildren();
    byId("item").replaceChildren(make("p", { class: "muted loading", text: t("loading") }));
    byId("item").setAttribute("aria-busy", "true");
    byId("bar").hidden = !undo;
    this.enable(undo ? ["undo"] : []);
  }

  /** There is no item. @param {string} title @param {string} text @param {boolean} elsewhere whether other questions may have some */
  empty(title, text, elsewhere = false) {
    const others = elsewhere && make("a", { class: "button primary", href: "/work?choose" }, t("other_questions"));
    const retry = make("button", { type: "button", class: elsewhere ? "" : "primary", onclick: () => this.again() }, t("look_again"));
    const mine = make("a", { class: "button", href: "/me" }, t("my_page"));
    byId("item").replaceChildren(make("div", { class: "empty" }, make("h2", { text: title }), make("p", { dir: "auto", text }),
      make("div", { class: "row" }, others, retry, mine)));
    byId("item").setAttribute("aria-busy", "false");
    this.toTop();
  }

  /** @param {string[]} names of the buttons that can be pressed; all others cannot */
  enable(names) {
    for (const name of BUTTONS) byId(name).disabled = !names.includes(name);
  }

  /** @param {string} text how far one is */
  progress(text) {
    byId("progress").textContent = text;
  }

  toTop() {
    byId("main").focus({ preventScroll: true });
    scrollTo({ top: 0, behavior: "instant" });
  }
}

/** Let styles know how high an element is. @param {HTMLElement} element @param {string} name of a property */
function keepHeight(element, name) {
  const tell = () => document.documentElement.style.setProperty(name, `${element.offsetHeight}px`);
  new ResizeObserver(tell).observe(element);
}

/**
 * Who has closed the instructions of a question knows them; a new version is open again.
 * @param {HTMLDetailsElement | null} box
 * @param {import("./storage.js").Drawer} drawer
 * @param {string} question
 * @param {number} version
 */
export function rememberInstructions(box, drawer, question, version) {
  if (!box) return;
  const name = `read.${question}`;
  if (drawer.get(name) === version) box.open = false;
  box.addEventListener("toggle", () => {
    if (box.open) drawer.remove(name);
    else drawer.set(name, version);
  });
}
