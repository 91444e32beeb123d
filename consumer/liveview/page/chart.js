// A line chart of the last seconds, in SVG, with the values under the pointer.

import { element } from "./format.js";

const SECONDS = 120;
const LEFT = 52, RIGHT = 104, TOP = 8, BOTTOM = 20, LINE = 15;
const TICK = 80; // pixels between two labels of the axis of time

function svg(tag, className, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  if (className) made.setAttribute("class", className);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text) made.textContent = text;
  return made;
}

/** The smallest of 1, 2, 5, 10, 20... that is not less than `value`. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value * 0.9999);
}

function linearScale(values) {
  const step = nice(Math.max(...values, 4) / 4);
  const top = Math.ceil(Math.max(...values, 4) / step) * step;
  const ticks = [];
  for (let tick = 0; tick <= top; tick += step) ticks.push(tick);
  return { ticks, share: (value) => value / top };
}

function logScale(values) {
  const above = values.filter((value) => value > 0);
  const low = Math.floor(Math.log10(Math.max(above.length ? Math.min(...above) : 1, 0.01)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(above.length ? Math.max(...above) : 100)));
  const ticks = [];
  for (let power = low; power <= high; power++) {
    ticks.push(10 ** power);
    if (high - low <= 2 && power < high) ticks.push(2 * 10 ** power, 5 * 10 ** power);
  }
  const share = (value) => (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low);
  return { ticks, share };
}

export class Chart {
  /**
   * @param {SVGElement} root where it is drawn
   * @param {{names: string[], area?: string, optional?: string, log?: boolean,
   *   write: (n: number) => string, label: (name: string) => string}} options names of the series,
   *   which are keys of the history; `area` is one of them that is filled, `optional` one that is
   *   left out while it is zero
   */
  constructor(root, options) {
    this.root = root;
    this.options = options;
    this.history = null;
    this.pointer = null;
    root.addEventListener("pointermove", (event) => {
      this.pointer = event.clientX - root.getBoundingClientRect().left;
      this.draw();
    });
    root.addEventListener("pointerleave", () => {
      this.pointer = null;
      this.draw();
    });
    new ResizeObserver(() => this.draw()).observe(root);
  }

  update(history) {
    this.history = history;
    this.draw();
  }

  draw() {
    const { width, height } = this.root.getBoundingClientRect();
    if (!this.history || width < LEFT + RIGHT + 20) return;
    this.right = width - RIGHT;
    this.bottom = height - BOTTOM;
    this.shown = this.options.names.filter(
      (name) => name !== this.options.optional || this.history[name].some((value) => value),
    );
    const all = this.shown.flatMap((name) => this.history[name]);
    const values = all.filter((value) => value !== null);
    this.scale = (this.options.log ? logScale : linearScale)(values);
    const parts = [...this.grid(), ...this.series(), ...this.names(), ...this.cross()];
    this.root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.root.replaceChildren(...parts);
  }

  x(index) {
    // The latest second is at the right edge, however short the history is.
    const age = this.history[this.options.names[0]].length - 1 - index;
    return this.right - (age / (SECONDS - 1)) * (this.right - LEFT);
  }

  y(value) {
    return this.bottom - this.scale.share(value) * (this.bottom - TOP);
  }

  grid() {
    const parts = [];
    for (const tick of this.scale.ticks) {
      const y = this.y(tick);
      parts.push(svg("line", "grid", { x1: LEFT, x2: this.right, y1: y, y2: y }));
      const place = { x: LEFT - 8, y: y + 4, "text-anchor": "end" };
      parts.push(svg("text", "", place, this.options.write(tick).replace(/\.0+(?= |$)/, "")));
    }
    const room = this.right - LEFT;
    const step = [30, 60, 120].find((seconds) => (room * seconds) / 120 >= TICK) ?? 120;
    for (let ago = 120; ago >= 0; ago -= step) {
      const anchor = ago === 120 ? "start" : ago ? "middle" : "end";
      const x = this.right - (ago / 120) * (this.right - LEFT);
      const place = { x, y: this.bottom + 15, "text-anchor": anchor };
      parts.push(svg("text", "", place, ago ? `${ago} s ago` : "now"));
    }
    return parts;
  }

  series() {
    const parts = [];
    for (const name of this.shown) {
      for (const run of this.runs(this.history[name])) {
        const points = run.map(([index, value]) => `${this.x(index)},${this.y(value)}`).join(" ");
        if (name === this.options.area && run.length > 1) {
          const from = this.x(run[0][0]), to = this.x(run.at(-1)[0]);
          const outline = `${from},${this.bottom} ${points} ${to},${this.bottom}`;
          parts.push(svg("polygon", `area s-${name}`, { points: outline }));
        }
        parts.push(
          run.length > 1
            ? svg("polyline", `line s-${name}`, { points })
            : svg("circle", `dot s-${name}`, { cx: this.x(run[0][0]), cy: this.y(run[0][1]), r: 2.5 }),
        );
      }
    }
    return parts;
  }

  /** Runs of seconds that have a value: a gap stays a gap. */
  runs(column) {
    const runs = [];
    column.forEach((value, index) => {
      if (value === null) return;
      if (index > 0 && column[index - 1] !== null) runs.at(-1).push([index, value]);
      else runs.push([[index, value]]);
    });
    return runs;
  }

  /** Each series named at its end, moved apart where they would overlap. */
  names() {
    const ends = [];
    for (const name of this.shown) {
      const last = this.history[name].findLast((value) => value !== null);
      if (last !== undefined) ends.push({ name, y: this.y(last) + 4 });
    }
    ends.sort((one, other) => one.y - other.y);
    ends.forEach((end, place) => {
      if (place > 0) end.y = Math.max(end.y, ends[place - 1].y + LINE - 2);
    });
    for (let place = ends.length - 1, limit = this.bottom + 6; place >= 0; place--, limit -= LINE - 2) {
      ends[place].y = Math.min(ends[place].y, limit);
    }
    return ends.map(({ name, y }) =>
      svg("text", `name s-${name}`, { x: this.right + 8, y }, this.options.label(name)),
    );
  }

  cross() {
    const length = this.history[this.options.names[0]].length;
    if (this.pointer === null || !length) return [];
    const step = (this.right - LEFT) / (SECONDS - 1);
    const index = Math.round(length - 1 - (this.right - this.pointer) / step);
    if (index < 0 || index >= length) return [];
    const x = this.x(index);
    const parts = [svg("line", "cross", { x1: x, x2: x, y1: TOP, y2: this.bottom })];
    const lines = [index === length - 1 ? "now" : `${length - 1 - index} s ago`];
    for (const name of this.shown) {
      const value = this.history[name][index];
      if (value === null) continue;
      parts.push(svg("circle", `dot s-${name}`, { cx: x, cy: this.y(value), r: 4 }));
      lines.push(`${this.options.label(name)}  ${this.options.write(value)}`);
    }
    const width = 12 + 6.6 * Math.max(...lines.map((line) => line.length));
    const left = x + 10 + width > this.right ? x - 10 - width : x + 10;
    const size = { x: left, y: TOP, width, height: lines.length * LINE + 8, rx: 6 };
    parts.push(svg("rect", "box", size));
    lines.forEach((line, place) => {
      const at = { x: left + 6, y: TOP + (place + 1) * LINE };
      parts.push(svg("text", place ? "box-text" : "", at, line));
    });
    return parts;
  }
}

/** One bar of the stages, each as wide as its share, and what each takes. */
export class Stages {
  constructor(root, write, label) {
    this.root = root;
    this.write = write;
    this.label = label;
  }

  update(names, means) {
    if (!this.parts) this.build(names);
    const known = means.some((mean) => mean !== null);
    this.parts.forEach(({ bar, text, mean }, place) => {
      bar.style.flexGrow = String(known ? Math.max(means[place] ?? 0, 0) : 0);
      text.title = mean.textContent = this.write(means[place]);
    });
  }

  build(names) {
    const bar = element("div", "bar"), legend = element("div", "legend");
    this.parts = names.map((name) => {
      const part = {
        bar: element("i", `s-${name}`),
        text: element("span", `s-${name}`, this.label(name)),
        mean: element("b"),
      };
      part.bar.title = this.label(name);
      part.text.append(part.mean);
      bar.append(part.bar);
      legend.append(part.text);
      return part;
    });
    this.root.replaceChildren(bar, legend);
  }
}
