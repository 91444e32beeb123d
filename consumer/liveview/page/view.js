// Frames in, the page out: each frame is all there is to show, so any of them may be missed.

import { Card, describe, picture } from "./cards.js";
import { Chart, Stages } from "./chart.js";
import { count, milliseconds, rate, words } from "./format.js";

const at = (id) => document.getElementById(id);
const rates = new Chart(at("rates"), {
  names: ["images", "answered", "dead_lettered"],
  area: "answered",
  optional: "dead_lettered",
  write: count,
  label: (name) => (name === "images" ? "came" : words(name)),
});
const latencies = new Chart(at("latencies"), {
  names: ["p50", "p90", "p99"],
  log: true,
  write: milliseconds,
  label: (name) => name,
});
const stages = new Stages(at("stages"), milliseconds, words);
const boards = { wall: [], wrong: [], dead: [] }; // cards by place
let paused = false;
let lastFrame = null;
let events = null;

function say(id, text) {
  const place = at(id);
  if (place.textContent !== text) place.textContent = text;
}

function setStatus(text, kind) {
  say("status", text);
  at("status").className = `status ${kind}`;
}

/** A number and its unit, the unit small. */
function figure(id, text) {
  const [number, unit] = text.split(" ");
  const place = at(id);
  if (place.dataset.text === text) return;
  place.dataset.text = text;
  place.replaceChildren(number);
  if (unit) {
    const small = document.createElement("small");
    small.textContent = ` ${unit}`;
    place.append(small);
  }
}

function open(item, image) {
  describe(at("details-body"), item, lastFrame.stages, image);
  at("details").showModal();
}

function showCards(name, items, latest) {
  const cards = boards[name];
  items.forEach((item, place) => {
    if (item === null) return;
    if (cards[place]?.number !== item.number) {
      cards[place]?.abandon();
      cards[place] = new Card(item, open, at(name), place);
    }
    cards[place].update(item, item.number === latest);
  });
}

function showFigures({ summary, totals, waiting }) {
  figure("rate", rate(summary.rate));
  figure("p50", milliseconds(summary.p50));
  figure("p99", milliseconds(summary.p99));
  figure("waiting", count(waiting));
  figure("batch", summary.mean_request === null ? "–" : summary.mean_request.toFixed(1));
  const right = summary.labelled ? (100 * summary.correct) / summary.labelled : null;
  figure("accuracy", right === null ? "–" : `${right.toFixed(1)} %`);
  say("accuracy-of", right === null ? "right: no labels come" : `right, of ${count(summary.labelled)} labelled`);
  figure("dead-count", count(totals.dead_lettered));
  at("dead-count").classList.toggle("bad", totals.dead_lettered > 0);
}

function showTotals({ totals, summary }) {
  const parts = [
    `Since the start: ${count(totals.images)} images came`,
    `${count(totals.answered)} answered`,
    `${count(totals.dead_lettered)} dead-lettered`,
  ];
  if (totals.duplicates) parts.push(`${count(totals.duplicates)} outcomes more than once`);
  if (totals.unreadable) parts.push(`${count(totals.unreadable)} records are no predictions`);
  if (totals.skipped) parts.push(`${count(totals.skipped)} records passed over to stay live`);
  if (summary.clock_errors) parts.push(`${count(summary.clock_errors)} answers before their image left: clocks differ`);
  say("totals", `${parts.join(" · ")}. Rates, latencies and shares are those of the last ten seconds.`);
}

function show(frame) {
  lastFrame = frame;
  say("source", frame.source);
  say("model", frame.model);
  showFigures(frame);
  showTotals(frame);
  rates.update(frame.history);
  latencies.update(frame.history);
  stages.update(frame.stages, frame.summary.stages);
  for (const [name, items] of Object.entries(frame.boards)) {
    showCards(name, items, name === "wall" ? frame.latest : -1);
    at(`${name}-section`).classList.toggle("empty", items.every((item) => item === null));
  }
  const most = frame.wall_per_second;
  say("share", frame.summary.rate > most ? `the latest ${most} of ${count(frame.summary.rate)} a second` : "");
}

/** Show the image of an id, as far as it is remembered. */
async function find(id) {
  let item = null;
  let problem = `No image with the id ${id} is among the last ones that came.`;
  try {
    const response = await fetch(`image?${new URLSearchParams({ id })}`);
    if (response.ok) item = await response.json();
    else problem = `The live view answers with status ${response.status}.`;
  } catch {
    problem = "The live view does not answer.";
  }
  at("not-found").hidden = item !== null;
  say("not-found", item === null ? problem : "");
  if (item === null || lastFrame === null) return;
  open(item, picture(item, () => {}));
}

function connect() {
  if (events) return;
  events = new EventSource("events");
  events.addEventListener("message", ({ data }) => {
    const frame = JSON.parse(data);
    at("trouble").hidden = frame.trouble === null;
    say("trouble", frame.trouble === null ? "" : `${frame.trouble}; trying again`);
    if (frame.trouble === null) setStatus(paused ? "paused" : "live", paused ? "" : "live");
    else setStatus("no Kafka", "lost");
    if (!paused) show(frame);
  });
  events.addEventListener("error", () => {
    const refused = events.readyState === EventSource.CLOSED;
    setStatus(refused ? "refused: too many pages are open" : "the live view has gone; trying again", "lost");
  });
}

function disconnect() {
  events?.close();
  events = null;
}

function pause() {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", String(paused));
  say("pause", paused ? "Go on" : "Pause");
  setStatus(paused ? "paused" : "live", paused ? "" : "live");
}

at("pause").addEventListener("click", pause);
at("find").addEventListener("submit", (event) => {
  event.preventDefault();
  find(at("find-id").value.trim());
});
document.addEventListener("keydown", (event) => {
  if (event.key === " " && !(event.target instanceof HTMLButtonElement || event.target instanceof HTMLInputElement)) {
    event.preventDefault();
    pause();
  }
});
// A page that nobody looks at takes nothing, and leaves its place to others.
document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
if (!document.hidden) connect();
