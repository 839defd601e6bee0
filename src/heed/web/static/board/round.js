/** Says how many further answers are asked for in all, while a lead ticks items and chooses a number. */

const form = document.querySelector("form[data-round]");
const total = form?.querySelector("output");
const more = form?.querySelector("input[name=more]");

function count() {
  if (!(form instanceof HTMLFormElement) || !(total instanceof HTMLOutputElement) || !(more instanceof HTMLInputElement)) return;
  const ticked = /** @type {NodeListOf<HTMLInputElement>} */ (form.querySelectorAll("input[name=item]:checked"));
  let answers = 0;
  for (const one of ticked) answers += Math.min(Number(one.dataset.room), Number(more.value));
  const words = answers === 1 ? total.dataset.totalOne : total.dataset.total;
  total.value = (words ?? "").replace("{}", String(answers));
  const button = form.querySelector("button.primary");
  if (button instanceof HTMLButtonElement) button.disabled = answers === 0;
}

form?.addEventListener("input", count);
count(); // a browser may keep what was ticked before it loaded the page again
