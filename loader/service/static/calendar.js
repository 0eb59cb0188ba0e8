// The hours as a heat map: one row for each day, newest first, 24 cells. A state has a sign as well as a colour.
import { element, fill } from "./dom.js";
import { clock, count, day, sum, usd, weekday } from "./format.js";

export const STATES = {
  sent: ["", "sent", "CloudZero holds it as it is now"],
  pending: ["+", "pending", "the next push sends it"],
  changed: ["~", "changed since sent", "the next push sends it again"],
  failed: ["×", "failed", "the last try did not end well; the next push tries again"],
  held_back: ["!", "held back", "a guard stops it until somebody looks"],
  incomplete: ["/", "incomplete", "still running, or dbt has not run since"],
  before_since: ["<", "not ours", "before LOADER_PUSH_SINCE"],
  none: ["", "no usage", ""],
};
const LEAST_DAYS = 7;

const sentence = (cell) => {
  const [, label, meaning] = STATES[cell.state];
  const what = [label, cell.detail || meaning].filter(Boolean).join(": ");
  const amount = cell.lines ? `, ${usd(cell.cost)} in ${count(cell.lines)} ${cell.lines === 1 ? "line" : "lines"}` : "";
  return `${day(cell.hour)} ${clock(cell.hour)} UTC, ${what}${amount}`;
};

export function calendar(place, summary, before, detail, legend, cells) {
  const most = Math.max(0, ...cells.map((each) => Number(each.cost)));
  let days = [];
  for (let at = 0; at < cells.length; at += 24) days.unshift(cells.slice(at, at + 24));
  // Days before the first usage say nothing.
  const silent = (each) => each.every((cell) => cell.state === "none");
  while (days.length > LEAST_DAYS && silent(days.at(-1))) days = days.slice(0, -1);
  before.textContent = days.length * 24 < cells.length ? `No usage before ${day(days.at(-1)[0].hour)}.` : "";
  const head = element("tr", {}, element("th", { scope: "col" }, element("span", { class: "hidden", text: "Day" })), ...Array.from({ length: 24 }, (_, hour) => (
    element("th", { scope: "col", class: hour % 6 ? "minor" : "" }, element("span", { text: String(hour).padStart(2, "0") }))
  )), element("th", { scope: "col", class: "wide number", text: "Cost" }));
  const rows = days.map((each) => element("tr", {}, element("th", { scope: "row" }, element("span", { class: "wide", text: `${weekday(each[0].hour)} ` }), day(each[0].hour)), ...each.map((cell) => made(cell, most)), element("td", { class: "wide number", text: costOf(each) })));
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.hour : null;
  fill(place, element("thead", {}, head), element("tbody", {}, ...rows));
  states(legend, summary, cells);
  explore(place, detail, focused);
}

const costOf = (cells) => (cells.some((cell) => cell.cost !== "0") ? usd(sum(cells.map((cell) => cell.cost))) : "");

function made(cell, most) {
  if (cell.state === "future") return element("td", { class: "future", "data-state": "future" });
  const share = most ? Number(cell.cost) / most : 0;
  const level = cell.state === "sent" ? ` level-${1 + Math.min(3, Math.floor(Math.sqrt(share) * 4))}` : "";
  const text = sentence(cell);
  return element("td", {
    class: `hour ${cell.state}${level}`, "data-state": cell.state, "data-hour": cell.hour, title: text, "aria-label": text, tabindex: "-1",
  }, STATES[cell.state][0]);
}

function states(legend, summary, cells) {
  const counts = {};
  for (const cell of cells) counts[cell.state] = (counts[cell.state] ?? 0) + 1;
  const amiss = ["failed", "held_back", "changed", "pending"].filter((state) => counts[state]);
  const words = amiss.map((state) => `${count(counts[state])} ${STATES[state][1]}`);
  summary.textContent = words.length ? `${words.join(", ")}.` : counts.sent ? "Every complete hour with usage is at CloudZero as it is now." : "No hour with usage is waiting.";
  fill(legend, ...Object.entries(STATES).filter(([state]) => counts[state] || ["sent", "pending", "changed", "failed", "incomplete", "none"].includes(state)).map(([state, [sign, label]]) => (
    element("li", {}, element("i", { class: `hour ${state}${state === "sent" ? " level-3" : ""}`, "aria-hidden": "true", text: sign }), label)
  )));
}

// One tab stop, then the arrow keys; whatever is pointed at, tapped or focused is spelled out below.
function explore(place, detail, focused) {
  const rows = [...place.tBodies[0].rows].map((row) => [...row.querySelectorAll("td.hour")]);
  const tell = (cell) => { detail.textContent = cell?.title ?? "Point at an hour, or go there with the arrow keys."; };
  const enter = (cell) => {
    for (const each of rows.flat()) each.tabIndex = each === cell ? 0 : -1;
    tell(cell);
  };
  const stop = rows.flat().find((cell) => cell.dataset.hour === focused) ?? rows.flatMap((row) => row.slice(-1))[0];
  if (stop) stop.tabIndex = 0;
  tell(null);
  const body = place.tBodies[0];
  body.addEventListener("focusin", (event) => enter(event.target));
  body.addEventListener("pointerover", (event) => event.target.closest("td.hour") && tell(event.target.closest("td.hour")));
  body.addEventListener("pointerleave", () => tell(body.contains(document.activeElement) ? document.activeElement : null));
  body.addEventListener("keydown", (event) => {
    const at = rows.findIndex((row) => row.includes(event.target));
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (at < 0 || !step) return;
    event.preventDefault();
    const column = rows[at].indexOf(event.target) + step[1], row = rows[at + step[0]];
    row?.[Math.min(Math.max(column, 0), row.length - 1)]?.focus();
  });
  if (focused && stop?.dataset.hour === focused) stop.focus({ preventScroll: true });
}
