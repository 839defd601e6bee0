/** Dragging by mouse, pen or finger. Everything that is dragged can be done by key and button as well. */

const FAR = 4;

/**
 * Let the chips (`data-place`) inside the two rooms be dragged onto what has `data-drop`.
 * @param {HTMLElement} board
 * @param {HTMLElement} pool
 * @param {(place: number, drop: string) => void} dropped
 */
export function dragging(board, pool, dropped) {
  for (const room of [board, pool]) {
    room.addEventListener("pointerdown", (event) => {
      const chip = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest("[data-place]"));
      if (chip && event.button === 0) follow(chip, event, dropped);
    });
  }
}

/** @param {HTMLElement} chip @param {PointerEvent} start @param {(place: number, drop: string) => void} dropped */
function follow(chip, start, dropped) {
  start.preventDefault();
  chip.setPointerCapture(start.pointerId);
  let over = /** @type {Element | null} */ (null);
  let moved = false;
  const move = (/** @type {PointerEvent} */ event) => {
    const [x, y] = [event.clientX - start.clientX, event.clientY - start.clientY];
    moved ||= Math.hypot(x, y) > FAR;
    if (!moved) return;
    chip.classList.add("dragged");
    chip.style.transform = `translate(${x}px, ${y}px)`;
    const below = document.elementsFromPoint(event.clientX, event.clientY);
    const found = below.map((element) => element.closest("[data-drop]")).find(Boolean) ?? null;
    if (found === over) return;
    over?.classList.remove("over");
    found?.classList.add("over");
    over = found;
  };
  const end = (/** @type {PointerEvent} */ event) => {
    chip.removeEventListener("pointermove", move);
    chip.removeEventListener("pointerup", end);
    chip.removeEventListener("pointercancel", end);
    chip.classList.remove("dragged");
    chip.style.transform = "";
    over?.classList.remove("over");
    const target = over instanceof HTMLElement ? over.dataset.drop : undefined;
    if (event.type === "pointerup" && moved && target) dropped(Number(chip.dataset.place), target);
  };
  chip.addEventListener("pointermove", move);
  chip.addEventListener("pointerup", end);
  chip.addEventListener("pointercancel", end);
}
