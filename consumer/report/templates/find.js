// One image's story by its id, from the data in the page.
const section = document.getElementById("find");
if (section) {
  const data = section.querySelector("script");
  const { all, images, names, stages } = JSON.parse(data.textContent);
  const [form, said, table] = ["form", "p", "table"].map((name) => section.querySelector(name));
  const rows = table.querySelector("tbody");
  const add = (name, text) => {
    const row = rows.insertRow();
    const head = row.appendChild(document.createElement("th"));
    head.className = "left";
    head.textContent = name;
    const cell = row.insertCell();
    cell.className = "left text";
    cell.textContent = text;
    return head;
  };
  const shown = (ms) => `${ms.toFixed(ms < 10 ? 2 : 1)} ms`;
  const tell = ([id, outcome, best, score, label, due, parts, batch, place]) => {
    const became = { answered: `${names[best] ?? "an answer without classes"}, score ${score}` };
    add("id", id);
    add("due", due ? `${new Date(due).toISOString().replace("T", " ").replace("Z", "")} UTC` : "not known");
    parts.forEach((ms, index) => {
      if (ms === null) return;
      const swatch = document.createElement("i");
      swatch.className = `swatch stage-${stages[index]}`;
      add(stages[index].replace("_", " "), shown(ms)).prepend(swatch);
    });
    if (!parts.includes(null)) {
      const whole = parts.reduce((sum, ms) => sum + ms, 0);
      add("read from Kafka", `after ${shown(whole)}`);
    }
    add("what became of it", became[outcome] ?? `${outcome}${best === null ? "" : `: ${names[best]}`}`);
    if (label !== null) add("true label", names[label]);
    if (batch > 0) add("went to Triton", batch > 1 ? `with ${batch - 1} others` : "alone");
    if (place) add("its bytes", `topic ${data.dataset.topic}, partition ${place[0]}, offset ${place[1]}`);
  };
  section.hidden = images.length === 0;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = form.querySelector("input").value.trim();
    const exact = images.filter(([id]) => id === wanted);
    const found = exact.length ? exact : images.filter(([id]) => id.endsWith(wanted));
    rows.replaceChildren();
    table.hidden = found.length !== 1;
    if (found.length === 1) tell(found[0]);
    const among = images.length < all ? `the ${images.length} of ${all} images that this page holds` : `${all} images`;
    said.textContent = found.length === 1 ? "" : `${found.length || "none"} of ${among} ${found.length > 1 ? "end so" : "has this id"}`;
  });
}
