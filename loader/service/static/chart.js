// Stacked bars with uPlot, which has no stacking: each series is drawn as the running total, the tallest first.
/* global uPlot */
import { clock, count, day, short, usd } from "./format.js";

const HOUR = 3600;

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export const colour = (index, series) => style(series.key === null ? "--other" : `--series-${index + 1}`);

const iso = (seconds) => new Date(seconds * 1000).toISOString();

export class Chart {
  #place;
  #plot = null;
  #usage = null;
  #tip = document.createElement("div");

  constructor(place) {
    this.#place = place;
    this.#tip.className = "tip";
    this.#tip.hidden = true;
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(place);
  }

  #size() {
    return { width: this.#place.clientWidth, height: this.#place.clientHeight };
  }

  // hours: ISO 8601; series: as in the response; measure: cost or tokens. Floats are for drawing only.
  show(hours, series, measure) {
    const values = series.map((each) => (measure === "cost" ? each.costs.map(Number) : each.token_counts));
    const sums = [];
    values.forEach((row, index) => sums.push(row.map((value, at) => value + (index ? sums[index - 1][at] : 0))));
    const xs = hours.map((hour) => Date.parse(hour) / 1000);
    this.#usage = { hours, series, measure };
    this.#plot?.destroy();
    this.#plot = new uPlot(this.#options(series, measure, xs), [xs, ...sums.reverse()], this.#place);
    this.#plot.over.append(this.#tip);
  }

  #options(series, measure, xs) {
    const quiet = style("--quiet");
    const grid = { stroke: style("--rule"), width: 1 };
    const ticks = { show: false };
    const font = "11px system-ui, sans-serif";
    const bars = uPlot.paths.bars({ size: [0.86, 40], align: 1 });
    return {
      ...this.#size(),
      padding: [8, 18, 0, 0],
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      scales: { x: { time: true, range: () => [xs[0], xs.at(-1) + HOUR] }, y: { range: (_, __, max) => [0, max * 1.05 || 1] } },
      axes: [
        {
          stroke: quiet, font, grid: { show: false }, ticks, space: 64, size: 28, gap: 8,
          incrs: [6 * HOUR, 12 * HOUR, 24 * HOUR, 48 * HOUR],
          values: (_, splits) => splits.map((at) => (at % (24 * HOUR) === 0 ? day(iso(at)) : clock(iso(at)))),
        },
        {
          stroke: quiet, font, grid, ticks, size: 48, space: 36,
          values: (_, splits) => splits.map((at) => (measure === "cost" ? `$${Number(at.toPrecision(6))}` : short(at))),
        },
      ],
      series: [{}, ...series.map((each, index) => ({ fill: colour(index, each), width: 0, paths: bars, points: { show: false } })).reverse()],
      hooks: { setCursor: [(plot) => this.#point(plot)] },
    };
  }

  #point(plot) {
    const { left, idx } = plot.cursor;
    if (left === null || left < 0 || plot.data[0].length === 0) {
      this.#tip.hidden = true;
      return;
    }
    // A bar is drawn to the right of its hour, but the cursor snaps to the nearest hour.
    const atCursor = plot.posToVal(left, "x");
    const at = idx > 0 && plot.data[0][idx] > atCursor ? idx - 1 : idx;
    const { hours, series, measure } = this.#usage;
    const value = (each) => (measure === "cost" ? usd(each.costs[at]) : count(each.token_counts[at]));
    const rows = series
      .map((each, index) => ({ each, index }))
      .filter(({ each }) => (measure === "cost" ? Number(each.costs[at]) : each.token_counts[at]))
      .map(({ each, index }) => line(each.label, value(each), colour(index, each)));
    const head = document.createElement("strong");
    head.textContent = `${day(hours[at])}, ${clock(hours[at])} to ${clock(iso(plot.data[0][at] + HOUR))}`;
    this.#tip.replaceChildren(head, ...(rows.length ? rows : [line("no usage", "", "transparent")]));
    this.#tip.hidden = false;
    const width = this.#tip.offsetWidth, available = plot.over.clientWidth;
    const beside = left + 16 + width > available ? left - 16 - width : left + 16;
    this.#tip.style.left = `${Math.max(0, Math.min(beside, available - width))}px`;
  }
}

const line = (label, value, fill) => {
  const row = document.createElement("div");
  const [swatch, name, amount] = ["i", "span", "b"].map((tag) => document.createElement(tag));
  swatch.style.background = fill;
  name.textContent = label;
  amount.textContent = value;
  row.append(swatch, name, amount);
  return row;
};
