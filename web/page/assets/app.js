// What the page needs beyond its HTML: the theme, ages that go on, copying, keys. No eval, no inline handlers.
"use strict";

const root = document.documentElement;
for (const toggle of document.querySelectorAll("[data-theme-toggle], [data-copy]")) toggle.hidden = false;

document.addEventListener("click", (e) => {
  if (e.target.closest("[data-theme-toggle]")) {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    document.cookie = "theme=" + root.dataset.theme + ";path=/;max-age=31536000;samesite=strict"; // the server renders it
  }
  const copy = e.target.closest("[data-copy]");
  if (copy) {
    navigator.clipboard.writeText(document.getElementById(copy.dataset.copy).textContent).then(() => {
      copy.textContent = "Copied";
      setTimeout(() => { copy.textContent = "Copy"; }, 1500);
    });
  }
});

// Ages go on from the instants in the HTML, in the units of the server.
function span(seconds) {
  const m = Math.floor(seconds / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
  const two = (n, large, rest, small) => n + " " + large + (rest ? " " + rest + " " + small : "");
  if (m < 1) return Math.max(seconds, 0) + " s";
  if (h < 1) return m + " m";
  return d < 1 ? two(h, "h", m % 60, "m") : two(d, "d", h % 24, "h");
}
setInterval(() => {
  for (const t of document.querySelectorAll("time[data-age]")) {
    t.textContent = span(Math.floor((Date.now() - Date.parse(t.dateTime)) / 1000));
  }
}, 10000);

// A time line that is wider than the screen begins at its end: now.
for (const line of document.querySelectorAll("[data-end]")) line.scrollLeft = line.scrollWidth;

const goes = { c: "/", r: "/runs", i: "/inventory", h: "/changes" };
let leader = false;
document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, select, textarea")) return;
  if (leader && document.querySelector('.tabs a[href="' + goes[e.key] + '"]')) location.href = goes[e.key];
  leader = e.key === "g";
  if (e.key === "/") {
    const field = document.querySelector(".find.large input") || document.querySelector(".find input");
    if (field) { e.preventDefault(); field.focus(); }
  }
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[e.key];
  const at = document.activeElement.closest(".cells a");
  if (step && at) { // among what is wrong; what is complete has nothing to say
    const all = [...document.querySelectorAll(".cells a")];
    const next = all[all.indexOf(at) + step];
    if (next) { e.preventDefault(); next.focus(); }
  }
});
