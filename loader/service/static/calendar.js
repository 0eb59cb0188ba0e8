// The hours as a heat map: one row per day with 24 cells, newest day first. Each state has a sign as well as a colour.
import { element, fill } from "./dom.js";
import { clock, count, day, sum, usd, weekday } from "./format.js";

export const STATES = {
  sent: ["", "sent", "CloudZero has the current lines"],
  pending: ["+", "pending", "sent by the next push"],
  changed: ["~", "changed since sent", "sent again by the next push"],
  failed: ["×", "failed", "the last push failed; the next one retries"],
  held_back: ["!", "held back", "stopped by a guard until it is allowed"],
  incomplete: ["/", "incomplete", "not ended yet, or dbt has not run since"],
  before_since: ["<", "excluded", "before LOADER_PUSH_SINCE"],
  none: ["", "no usage", ""],
};
const MIN_DAYS = 7;

const describe = (cell) => {
  const [, label, meaning] = STATES[cell.state];
  const state = [label, cell.detail || meaning].filter(Boolean).join(": ");
  const amount = cell.lines ? `, ${usd(cell.cost)} in ${count(cell.lines)} ${cell.lines === 1 ? "line" : "lines"}` : "";
  return `${day(cell.hour)} ${clock(cell.hour)} UTC, ${state}${amount}`;
};

export function calendar(place, summary, before, detail, legend, cells) {
  const highest = Math.max(0, ...cells.map((each) => Number(each.cost)));
  let days = [];
  for (let at = 0; at < cells.length; at += 24) days.unshift(cells.slice(at, at + 24));
  // Leave out days before the first usage.
  const isEmpty = (each) => each.every((cell) => cell.state === "none");
  while (days.length > MIN_DAYS && isEmpty(days.at(-1))) days = days.slice(0, -1);
  before.textContent = days.length * 24 < cells.length ? `No usage before ${day(days.at(-1)[0].hour)}.` : "";
  const head = element("tr", {}, element("th", { scope: "col" }, element("span", { class: "hidden", text: "Day" })), ...Array.from({ length: 24 }, (_, hour) => (
    element("th", { scope: "col", class: hour % 6 ? "minor" : "" }, element("span", { text: String(hour).padStart(2, "0") }))
  )), element("th", { scope: "col", class: "wide number", text: "Cost" }));
  const rows = days.map((each) => element("tr", {}, element("th", { scope: "row" }, element("span", { class: "wide", text: `${weekday(each[0].hour)} ` }), day(each[0].hour)), ...each.map((cell) => hourCell(cell, highest)), element("td", { class: "wide number", text: costOf(each) })));
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.hour : null;
  fill(place, element("thead", {}, head), element("tbody", {}, ...rows));
  showStates(legend, summary, cells);
  addNavigation(place, detail, focused);
}

const costOf = (cells) => (cells.some((cell) => cell.cost !== "0") ? usd(sum(cells.map((cell) => cell.cost))) : "");

function hourCell(cell, highest) {
  if (cell.state === "future") return element("td", { class: "future", "data-state": "future" });
  const share = highest ? Number(cell.cost) / highest : 0;
  const level = cell.state === "sent" ? ` level-${1 + Math.min(3, Math.floor(Math.sqrt(share) * 4))}` : "";
  const text = describe(cell);
  return element("td", {
    class: `hour ${cell.state}${level}`, "data-state": cell.state, "data-hour": cell.hour, title: text, "aria-label": text, tabindex: "-1",
  }, STATES[cell.state][0]);
}

function showStates(legend, summary, cells) {
  const counts = {};
  for (const cell of cells) counts[cell.state] = (counts[cell.state] ?? 0) + 1;
  const unsent = ["failed", "held_back", "changed", "pending"].filter((state) => counts[state]);
  const phrases = unsent.map((state) => `${count(counts[state])} ${STATES[state][1]}`);
  summary.textContent = phrases.length ? `${phrases.join(", ")}.` : counts.sent ? "CloudZero has the current lines of every complete hour." : "No hour is pending.";
  fill(legend, ...Object.entries(STATES).filter(([state]) => counts[state] || ["sent", "pending", "changed", "failed", "incomplete", "none"].includes(state)).map(([state, [sign, label]]) => (
    element("li", {}, element("i", { class: `hour ${state}${state === "sent" ? " level-3" : ""}`, "aria-hidden": "true", text: sign }), label)
  )));
}

// One tab stop, then the arrow keys. The hour that is hovered, tapped or focused is described below the table.
function addNavigation(place, detail, focused) {
  const rows = [...place.tBodies[0].rows].map((row) => [...row.querySelectorAll("td.hour")]);
  const showDetail = (cell) => { detail.textContent = cell?.title ?? "Hover over an hour, or use the arrow keys."; };
  const enter = (cell) => {
    for (const each of rows.flat()) each.tabIndex = each === cell ? 0 : -1;
    showDetail(cell);
  };
  const stop = rows.flat().find((cell) => cell.dataset.hour === focused) ?? rows.flatMap((row) => row.slice(-1))[0];
  if (stop) stop.tabIndex = 0;
  showDetail(null);
  const body = place.tBodies[0];
  body.addEventListener("focusin", (event) => enter(event.target));
  body.addEventListener("pointerover", (event) => event.target.closest("td.hour") && showDetail(event.target.closest("td.hour")));
  body.addEventListener("pointerleave", () => showDetail(body.contains(document.activeElement) ? document.activeElement : null));
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
