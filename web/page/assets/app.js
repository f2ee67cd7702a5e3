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

// What lives: the server says that something changed, and the blocks of this view that differ are replaced. A block in
// which somebody reads or types stays: with the focus in it, or with details open.
const live = document.getElementById("live");
let last = new Date(), due = 0, busy = false;

async function refresh() {
  due = 0;
  if (busy) return changed(); // what is being read may be older than the change
  busy = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const block of document.querySelectorAll("[data-live]")) {
      const other = next.querySelector('[data-live="' + block.dataset.live + '"]');
      if (!other || other.outerHTML === block.outerHTML) continue;
      if (block.contains(document.activeElement) || block.querySelector("details[open]")) continue;
      const left = block.scrollLeft;
      block.replaceWith(other);
      other.scrollLeft = left;
    }
    document.title = next.title;
    last = new Date();
  } catch { // the stream says that the connection is lost
  } finally {
    busy = false;
  }
}

// At most one look in two seconds, and none while nobody sees the page.
function changed() {
  if (!due && !document.hidden) due = setTimeout(refresh, 2000);
}

if (!document.querySelector("main[data-frozen]")) {
  const events = new EventSource("/api/v1/events");
  let wasLost = false;
  events.addEventListener("changed", changed);
  events.addEventListener("open", () => {
    live.hidden = false;
    live.className = "live";
    live.textContent = "Live";
    if (wasLost) changed();
    wasLost = false;
  });
  events.addEventListener("error", () => {
    wasLost = true;
    live.hidden = false;
    live.className = "live off";
    live.textContent = "Not live, " + last.toISOString().slice(11, 19);
  });
  document.addEventListener("visibilitychange", changed);
}

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
