// One image: its card on the wall, and all that is known of it in the dialog.

import { brief, bytes, element, milliseconds, words } from "./format.js";

const SMALL = 64; // pixels: enlarged without blur, each pixel is a square

export function picture(item, loaded) {
  const image = element("img");
  image.alt = "";
  image.addEventListener("load", () => {
    image.classList.toggle("small", image.naturalWidth <= SMALL && image.naturalHeight <= SMALL);
    loaded();
  });
  image.src = item.picture ? `pictures/${item.number}` : "no-picture.svg";
  return image;
}

const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text) made.textContent = text;
  return made;
}

/** Boxes over a picture, the surest on top; with their labels where there is room. */
function boxes(overlay, named) {
  const drawn = svg("svg", { class: "boxes", viewBox: `0 0 100 ${overlay.height}`, "aria-hidden": "true" });
  for (const box of [...overlay.boxes].reverse()) {
    const { x, y, width, height, colour } = box;
    drawn.append(svg("rect", { class: `b${colour}`, x, y, width, height }));
    if (!named) continue;
    const right = x > 50;
    const at = { class: `b${colour}`, x: right ? x + width : x + 1, y: Math.max(y - 1.5, 6) };
    if (right) at["text-anchor"] = "end";
    drawn.append(svg("text", at, `${box.label.slice(0, 16)} ${percent(box.score)}`));
  }
  return drawn;
}

/** The images most like this one, once they are known. */
async function alike(item, into) {
  const response = await fetch(`alike/${item.number}`);
  const found = response.ok ? await response.json() : [];
  if (!found.length) return;
  const row = element("div", "alike");
  for (const { number, id, cosine } of found) {
    const one = element("span");
    one.title = id;
    one.append(picture({ number, picture: true }, () => {}), element("b", "", cosine.toFixed(3)));
    row.append(one);
  }
  into.append(element("h4", "", "Most like it, by cosine"), row);
}

function percent(score) {
  return score === null ? "–" : score.toFixed(2);
}

function share(score) {
  return `${Math.min(Math.max(score ?? 0, 0), 1) * 100}%`;
}

/** Of a reason "decode/not_an_image: a text": what it is called. */
function reasonName(reason) {
  return words(/^[^:]*\/([^:]*)/.exec(reason)?.[1] || "dead-lettered");
}

/** What is said of an image: its answer, and a remark. */
function lines(item) {
  if (item.state === "waiting") return ["waiting", ""];
  if (item.state === "dead-lettered") return [reasonName(item.reason), ""];
  const label = item.says || (item.top.length ? item.top[0][0] : "no class");
  const truth = item.right === false ? `is ${item.truth}` : milliseconds(item.latency_ms);
  return [label, truth];
}

/** A card that is made once for its image and then brought up to date. */
export class Card {
  /** It takes its `place` in `parent` once its picture is there; till then the old one stays. */
  constructor(item, open, parent, place) {
    this.number = item.number;
    this.abandoned = false;
    this.root = element("button", "card new");
    this.root.type = "button";
    this.best = element("span", "best");
    this.score = element("em");
    this.under = element("span");
    this.bar = element("i");
    const track = element("span", "score");
    track.append(this.bar);
    const second = element("span", "second");
    second.append(this.under, this.score);
    const text = element("span", "text");
    text.append(this.best, second);
    const image = picture(item, () => {
      if (!this.abandoned) put(this.root, parent, place);
    });
    this.frame = element("span", "frame");
    this.frame.append(image);
    this.root.append(this.frame, track, text);
    this.root.addEventListener("click", () => open(this.item, image));
  }

  /** Its place went to another image, maybe before its own picture came. */
  abandon() {
    this.abandoned = true;
  }

  update(item, latest) {
    this.root.classList.toggle("latest", latest);
    const said = JSON.stringify(item);
    if (said === this.said) return;
    this.said = said;
    this.item = item;
    const [best, under] = lines(item);
    const verdict = item.right === null ? "" : item.right ? "right" : "wrong";
    this.root.classList.remove("waiting", "answered", "dead-lettered", "right", "wrong");
    this.root.classList.add(item.state, ...(verdict ? [verdict] : []));
    this.root.title = [best, under, item.reason, `id ${item.id}`, "Click for more."].filter(Boolean).join("\n");
    this.best.textContent = brief(best);
    if (item.overlay && item.picture && !this.frame.querySelector("svg")) this.frame.append(boxes(item.overlay, false));
    this.score.textContent = item.top.length ? percent(item.top[0][1]) : "";
    this.under.textContent = brief(under);
    this.bar.style.width = item.top.length ? share(item.top[0][1]) : "0";
  }
}

/** Put `card` at its place, which may be further on than there are cards yet. */
function put(card, parent, place) {
  card.dataset.place = String(place);
  const others = [...parent.children];
  const old = others.find((other) => other.dataset.place === card.dataset.place);
  if (old) old.replaceWith(card);
  else parent.insertBefore(card, others.find((other) => Number(other.dataset.place) > place) ?? null);
}

function meters(rows) {
  const grid = element("div", "meters");
  for (const { name, width, value, series } of rows) {
    const track = element("div", `track ${series ?? ""}`);
    const bar = element("i");
    bar.style.width = width;
    track.append(bar);
    grid.append(element("span", "", name), track, element("b", "", value));
  }
  return grid;
}

/** Fill `body` with one image; `shown` is its picture on the page, which may be gone elsewhere. */
export function describe(body, item, stages, shown) {
  const side = element("div");
  const [best, under] = lines(item);
  side.append(element("h3", "", best), element("div", "quiet", under));
  if (item.top.length) {
    const rows = item.top.map(([label, score]) => ({ name: label, width: share(score), value: percent(score) }));
    side.append(element("h4", "", item.says ? "Objects" : "Classes"), meters(rows));
  }
  if (item.stages_ms.length) {
    const longest = Math.max(...item.stages_ms, 0.001);
    const rows = item.stages_ms.map((spent, place) => ({
      name: words(stages[place]),
      width: `${(Math.max(spent, 0) / longest) * 100}%`,
      value: milliseconds(spent),
      series: `s-${stages[place]}`,
    }));
    side.append(element("h4", "", `Where its ${milliseconds(item.latency_ms)} went`), meters(rows));
  }
  const facts = [
    ["id", item.id],
    ["due", item.due_ms ? new Date(item.due_ms).toISOString().replace("T", " ") : ""],
    ["outcome", item.state === "answered" ? `answered after ${milliseconds(item.latency_ms)}` : item.state],
    ["true class", item.truth],
    ["reason", item.reason],
    ["model", item.model],
    ["went to Triton", item.batch_size > 1 ? `with ${item.batch_size - 1} others` : item.batch_size ? "alone" : ""],
    ["image", item.where ? `${item.content_type || "no content type"}, ${bytes(item.size)}` : "not seen"],
    ["source", item.source],
    ["topic/partition/offset", item.where],
  ];
  const list = element("dl");
  for (const [name, value] of facts) {
    if (value) list.append(element("dt", "", name), element("dd", "", value));
  }
  side.append(list);
  const large = element("span", "frame");
  large.append(shown.cloneNode());
  if (item.overlay && item.picture) large.append(boxes(item.overlay, true));
  body.replaceChildren(large, side);
  if (item.vector) alike(item, side);
}
