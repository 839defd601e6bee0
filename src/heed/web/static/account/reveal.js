/** A button beside each password that shows what was typed. Without it the field works all the same. */

for (const field of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("input[data-reveal]"))) {
  const label = document.createElement("label");
  const box = document.createElement("input");
  const words = document.createElement("span");
  label.className = "choice";
  box.type = "checkbox";
  words.textContent = field.dataset.reveal ?? "";
  label.append(box, words);
  box.addEventListener("change", () => { field.type = box.checked ? "text" : "password"; });
  // What is sent, and what a browser remembers, is a password again.
  field.form?.addEventListener("submit", () => { field.type = "password"; });
  field.after(label);
}
