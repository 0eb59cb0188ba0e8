// Fetches api/overview every minute and shows it. Values are inserted as text, never as HTML.
import { calendar } from "./calendar.js";
import { Chart, colour } from "./chart.js";
import { element, fill, prose, table } from "./dom.js";
import { ago, clock, count, day, exact, megabytes, moment, month, short, sum, usd } from "./format.js";

const REFRESH_MS = 60000;
const OUTCOMES = {
  accepted: ["ok", "accepted"],
  partly: ["bad", "partly accepted"],
  failed: ["bad", "failed"],
  under_way: ["warn", "not finished"],
};
const get = (id) => document.getElementById(id);
const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;
const chart = new Chart(get("chart"));
const shown = new Map();
let overview = null;

// Renders a part of the page only when its data has changed, to avoid flicker and to keep the focus.
const part = (name, values, show) => {
  const text = JSON.stringify(values);
  if (shown.get(name) !== text) {
    shown.set(name, text);
    show(...values);
  }
};

const notice = (text) => {
  fill(get("problem"), ...prose(text));
  get("problem").hidden = !text;
};

async function refresh() {
  try {
    const reply = await fetch("api/overview", { headers: { Accept: "application/json" }, cache: "no-store" });
    if (reply.status === 401 || reply.status === 403) {
      notice("The key is no longer accepted: reload the page.");
      return;
    }
    if (!reply.ok) throw new Error(reply.statusText);
    const data = await reply.json();
    if (data.overview) overview = data.overview;
    notice(problemText(data));
    if (overview) render();
    get("loading").hidden = true;
  } catch {
    get("loading").hidden = true;
    const last = overview ? ` Showing data from ${moment(overview.read_at)} UTC.` : "";
    notice(`The service does not respond; retrying every minute.${last}`);
  }
}

function problemText({ problem, overview: last }) {
  if (problem) {
    const summary = problem.kind === "locked" ? "The warehouse is in use." : "The warehouse cannot be read.";
    const shownData = last ? `Showing data from ${moment(last.read_at)} UTC.` : "There is no earlier data to show.";
    return `${summary} ${problem.message} ${shownData}`;
  }
  const warnings = last.warnings.join(" ");
  if (last.is_empty && !warnings) return "No usage yet: the models are built, but no spend log has been summed. Once LiteLLM has written some, run `dbt run`.";
  return warnings;
}

function render() {
  const at = Math.max(0, overview.streams.findIndex((each) => name(each) === get("stream").value));
  const stream = overview.streams[at];
  get("main").hidden = false;
  part("as-of", [overview.built_at, overview.read_at], (built, read) => {
    get("as-of").textContent = `Models built ${moment(built)}, ${ago(built, read)} · read ${clock(read)} UTC`;
  });
  part("streams", [overview.streams.map(name)], streams);
  part("totals", [stream, overview.warnings], totals);
  part("usage", [overview.usage, chosen("by"), chosen("measure")], usage);
  part("calendar", [stream.calendar], (cells) => calendar(get("calendar"), get("calendar-summary"), get("calendar-before"), get("cell"), get("states"), cells));
  part("limits", [stream.months, stream.connection_id], limits);
  part("pushes", [stream.pushes], pushes);
  part("lines", [overview.newest_lines], lines);
}

const name = (stream) => (stream.connection_id ? `${stream.connection_id} at ${stream.api_url}` : "");

function streams(names) {
  fill(get("stream"), ...names.map((each) => element("option", { text: each })));
  get("stream-choice").hidden = names.length < 2;
}

function totals({ totals: periods, connection_id: id }, warnings) {
  const agree = periods.every((each) => each.agree) && !warnings.length;
  const isEmpty = periods.every((each) => [each.source, each.lines, each.sent].every((amount) => amount === "0"));
  const verdict = isEmpty
    ? "No usage to compare in this month or the last 7 days"
    : agree ? "Source, lines and CloudZero agree to the last digit"
    : !id ? "Nothing has been sent yet"
    : periods.every((each) => each.agree) ? "Some usage needs attention: see above"
    : disagreement(periods);
  fill(get("totals-head"), element("span", { text: agree ? "=" : "≠", class: agree ? "mark ok" : "mark warn", "aria-hidden": "true" }), ` ${verdict}`);
  const findings = periods.flatMap((each) => each.findings.map((what) => `${each.name}: ${what}.`));
  if (!id) findings.push("CLOUDZERO_CONNECTION_ID is not set and the push log is empty, so the amount sent is unknown.");
  fill(get("findings"), ...findings.map((text) => element("li", {}, ...prose(text))));
  fill(get("totals"), ...periods.map(period));
}

// The headline: the largest difference of all periods.
function disagreement(periods) {
  const most = (key) => periods.filter((each) => each[key] !== "0").sort((a, b) => Math.abs(b[key]) - Math.abs(a[key]))[0];
  const unsummed = most("lines_difference"), unsent = most("sent_difference");
  if (unsummed) return `Source and lines differ by ${usd(unsummed.lines_difference.replace("-", ""))}: ${unsummed.name}`;
  const amount = usd(unsent.sent_difference.replace("-", ""));
  const what = unsent.sent_difference.startsWith("-") ? "not sent to CloudZero yet" : "more at CloudZero than in the lines";
  return `${amount} ${what}: ${unsent.name}`;
}

function period(sums) {
  const amount = (label, text, note) => {
    const [head, tail] = text === null ? ["unknown", ""] : exact(text);
    return element("div", {}, element("dt", { text: label }), element("dd", {}, head, element("small", { text: tail })), element("dd", { class: "quiet", text: note }));
  };
  const between = (difference, left) => {
    const equal = difference !== null && Number(difference) === 0;
    const text = equal ? "=" : difference === null ? "" : `${difference.startsWith("-") ? "" : "+"}${usd(difference)}`;
    const note = left === "0" ? "" : ` excluding ${usd(left)}`;
    return element("div", { class: equal ? "between ok" : "between warn", text: text + note });
  };
  const ends = `${moment(sums.start)} to ${moment(sums.end)}`;
  return element(
    "div", { class: "period" },
    element("h3", {}, `${sums.name} `, element("span", { text: ends })),
    element(
      "dl", {},
      amount("Source", sums.source, "spend logs, as summed"),
      between(sums.lines_difference, sums.left_out),
      amount("Lines", sums.lines, "what CloudZero should have"),
      between(sums.sent_difference, "0"),
      amount("Sent", sums.sent, "what CloudZero accepted"),
    ),
  );
}

// Leaves out the hours before the first usage, but shows at least two days.
function trimmed({ hours }, series) {
  const first = hours.findIndex((_, at) => series.some((each) => each.costs[at] !== "0" || each.token_counts[at]));
  const from = Math.max(0, Math.min(first - 1, hours.length - 48));
  return {
    hours: hours.slice(from),
    series: series.map((each) => ({ ...each, costs: each.costs.slice(from), token_counts: each.token_counts.slice(from) })),
  };
}

function usage(all, by, measure) {
  const { hours, series } = trimmed(all, all[by]);
  const isCost = measure === "cost", what = by === "by_model" ? "model" : "team";
  const total = isCost ? usd(all.cost) : `${short(all.tokens)} tokens`;
  fill(get("usage-head"), isCost ? "Cost by hour " : "Tokens by hour ", element("span", { text: `last 7 days, ${total}` }));
  get("usage").hidden = get("by-day").hidden = series.length === 0;
  get("no-usage").hidden = series.length > 0;
  get("no-usage").textContent = "No lines in the last 7 days.";
  if (!series.length) return;
  get("chart").setAttribute("aria-label", `${isCost ? "Cost" : "Tokens"} by hour, stacked by ${what}; the tables beside and below show the same data.`);
  chart.show(hours, series, measure);
  const whole = isCost ? Number(all.cost) : all.tokens;
  table(get("legend"), [what === "model" ? "Model" : "Team", isCost ? "Cost" : "Tokens", "Share"], series.map((each, index) => {
    const swatch = element("i", { class: "swatch", "aria-hidden": "true" });
    swatch.style.background = colour(index, each);
    const share = whole ? (isCost ? Number(each.cost) : each.tokens) / whole : 0;
    return [
      element("span", { class: "name", title: each.key ?? "" }, swatch, element("span", { text: each.label })),
      element("span", { text: isCost ? usd(each.cost) : short(each.tokens), title: isCost ? `$${each.cost}` : count(each.tokens) }),
      `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)}%`,
    ];
  }), [1, 2]);
  byDay(hours, series, isCost);
}

function byDay(hours, series, isCost) {
  const days = [...new Set(hours.map((hour) => hour.slice(0, 10)))].reverse();
  table(get("days"), ["Day (UTC)", ...series.map((each) => each.label)], days.map((date) => [
    day(date),
    ...series.map((each) => {
      const of = (values) => values.filter((_, at) => hours[at].startsWith(date));
      return isCost ? usd(sum(of(each.costs))) : short(of(each.token_counts).reduce((a, b) => a + b, 0));
    }),
  ]), series.map((_, at) => at + 1));
}

function limits(months, id) {
  const gauge = (label, value, limit, text) => {
    const share = value / limit;
    const bar = element("div", { class: share >= 0.8 ? "gauge warn" : "gauge", role: "meter", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": String(limit), "aria-valuenow": String(value), "aria-valuetext": text }, element("div"));
    bar.firstChild.style.width = `${Math.min(100, share * 100)}%`;
    const percent = `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)}%`;
    return element("div", { class: "limit" }, element("span", { text: label }), bar, element("b", { text: percent }), element("span", { class: "quiet", text }));
  };
  fill(get("limits"), ...(id ? [] : [element("p", { class: "quiet", text: "Nothing has been sent." })]), ...months.filter((each, at) => id && (at === 0 || each.rows)).map((each) => element(
    "div", { class: "month" }, element("h3", { text: month(each.month) }),
    gauge("Bytes", each.bytes, each.bytes_limit, `${megabytes(each.bytes)} of ${each.bytes_limit / 1e6} MB`),
    gauge("Rows", each.rows, each.rows_limit, `${count(each.rows)} of ${count(each.rows_limit)}`),
    ...(each.warns ? [element("p", { class: "warn", text: "Over 80%: CloudZero refuses data beyond the limit. To make room, use fewer line_dimensions or set token_tags: false." })] : []),
  )));
}

function pushes(list) {
  table(get("pushes"), ["When", "Outcome", "Hours", "Lines", "Cost"], list.map((each) => {
    const [tone, text] = OUTCOMES[each.outcome];
    const detail = [each.operation === "replace_hourly" ? "" : each.operation, each.detail].filter(Boolean).join(" · ");
    return [
      element("time", { text: moment(each.began_at), datetime: each.began_at }),
      element("span", { class: tone }, text, ...(detail ? [element("small", { text: detail })] : [])),
      each.hours === each.hours_accepted ? count(each.hours) : `${count(each.hours_accepted)} of ${count(each.hours)}`,
      count(each.lines),
      element("span", { text: usd(each.cost), title: `$${each.cost}` }),
    ];
  }), [2, 3, 4], "No pushes in the last 31 days.", [3]);
}

function lines(list) {
  table(get("lines"), ["Hour", "Model", "Team", "User", "Provider", "Tokens", "Cost"], list.map((each) => [
    element("time", { text: moment(each.hour), datetime: each.hour }),
    element("span", { title: each.resource_id }, each.model || "unknown", element("small", { class: "narrow", text: each.owner || "no team" })),
    each.owner || "no team",
    each.user,
    each.provider,
    count(each.tokens),
    element("span", { text: usd(each.cost), title: `$${each.cost}` }),
  ]), [5, 6], "No lines in the last 7 days.", [2, 3, 4, 5]);
}

for (const id of ["measure", "by", "stream"]) get(id).addEventListener("change", () => overview && render());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  shown.delete("usage");
  if (overview) render();
});
document.addEventListener("visibilitychange", () => document.hidden || refresh());
setInterval(() => document.hidden || refresh(), REFRESH_MS);
refresh();
