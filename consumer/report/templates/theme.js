// The button goes from what the system prefers to light, to dark, and back.
const choices = ["auto", "light", "dark"];
const button = document.getElementById("theme");
const read = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
const keep = (choice) => { try { localStorage.setItem("theme", choice); } catch { /* a file may not keep anything */ } };
const show = (choice) => {
  document.documentElement.dataset.theme = choice;
  button.textContent = `theme: ${choice}`;
};
let current = choices.includes(read()) ? read() : "auto";
show(current);
button.hidden = false;
button.addEventListener("click", () => {
  current = choices[(choices.indexOf(current) + 1) % choices.length];
  show(current);
  keep(current);
});
