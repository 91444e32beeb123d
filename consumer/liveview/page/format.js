// Numbers as the page writes them, and elements made of text: nothing here takes HTML.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function count(number) {
  return whole.format(number);
}

export function rate(number) {
  return number >= 10 ? count(number) : number.toFixed(1);
}

/** Milliseconds with their unit: 0.42 ms, 3.7 ms, 128 ms, 2.4 s. */
export function milliseconds(ms) {
  if (ms === null || ms === undefined) return "–";
  if (Math.abs(ms) < 1) return `${ms.toFixed(2)} ms`;
  if (Math.abs(ms) < 99.95) return `${ms.toFixed(1)} ms`;
  if (Math.abs(ms) < 1000) return `${Math.round(ms)} ms`;
  if (Math.abs(ms) < 99950) return `${(ms / 1000).toFixed(1)} s`;
  return `${count(ms / 1000)} s`;
}

export function bytes(number) {
  if (number < 1000) return `${number} B`;
  return number < 1e6 ? `${(number / 1e3).toFixed(1)} kB` : `${(number / 1e6).toFixed(1)} MB`;
}

export function words(name) {
  return name.replaceAll("_", " ").replace("dead lettered", "dead-lettered");
}

const BRIEF = 30;

/**
 * A label in the room under a small picture. Names of classes are often lists of synonyms: the first
 * one says enough; of a longer one there are as many whole words as fit.
 */
export function brief(text) {
  const first = text.split(/[,;:] /, 1)[0];
  if (first.length <= BRIEF) return first;
  const kept = first.slice(0, BRIEF).replace(/[\s\p{P}]+[^\s\p{P}]*$/u, "");
  return `${kept}…`;
}

export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}
