/** How sure the rater is: five steps from 0 to 1. */

import { t } from "../dom.js";
import { Choices } from "./choices.js";
import { Part, digitOf } from "./part.js";

/** @typedef {import("../sheet.js").Context} Context */

const STEPS = 5;

export class Confidence {
  /** @param {Context} context */
  constructor(context) {
    this.choices = new Choices(
      Array.from({ length: STEPS }, (_, index) => ({
        value: String(index),
        text: t(`sure.${index}`),
        sign: context.keys.fixedSign(digitOf(index)),
      })),
      context.changed,
      { clear: true, className: "wide-picks" },
    );
    this.part = new Part({ label: t("how_sure"), optional: true, role: "radiogroup" }, this.choices.element);
    this.part.press = (key) => {
      const index = Number(key) - 1;
      if (!(index >= 0 && index < STEPS)) return "no";
      this.choices.press(String(index));
      return "next";
    };
    this.parts = [this.part];
  }

  /** @returns {number | null} 0 to 1 */
  state() {
    return this.choices.value === null ? null : Number(this.choices.value) / (STEPS - 1);
  }

  /** @param {number | null | undefined} share */
  restore(share) {
    this.choices.value = share === null || share === undefined ? null : String(Math.round(share * (STEPS - 1)));
  }

  missing() {
    return [];
  }
}
