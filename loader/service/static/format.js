// Formats numbers and times. Money stays text and is rounded digit by digit, never as a float.

const grouped = (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ",");

const split = (text) => {
  const minus = text.startsWith("-");
  const [whole, fraction = ""] = text.replace("-", "").split(".");
  return { sign: minus ? "\u2212" : "", whole, fraction };
};

// All digits in two parts: "$95.02" and "5657318000002544".
export const exact = (text) => {
  const { sign, whole, fraction } = split(text);
  return [`${sign}$${grouped(whole)}.${fraction.padEnd(2, "0").slice(0, 2)}`, fraction.slice(2)];
};

// Rounded half up to cents; below a cent, to two significant digits.
export const usd = (text) => {
  const { sign, whole, fraction } = split(text);
  const zeros = whole === "0" ? fraction.search(/[1-9]/) : 0;
  const places = zeros > 1 ? zeros + 2 : 2;
  const padded = fraction.padEnd(places + 1, "0");
  let units = BigInt(whole + padded.slice(0, places));
  if (padded[places] >= "5") units += 1n;
  const digits = units.toString().padStart(places + 1, "0");
  return `${sign}$${grouped(digits.slice(0, -places))}.${digits.slice(-places)}`;
};

export const count = (number) => grouped(String(number));

// Three significant digits. Rounded before the unit is chosen, so that 999,999 is 1M and not 1000k.
export const short = (number) => {
  const rounded = Number(number.toPrecision(3));
  for (const [size, unit] of [[1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
    if (rounded >= size) return `${Number((rounded / size).toPrecision(3))}${unit}`;
  }
  return String(number);
};

export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
const DAYS = "Sun Mon Tue Wed Thu Fri Sat".split(" ");

// All times are ISO 8601 in UTC: 2026-11-24T01:00:00Z.
export const day = (iso) => `${Number(iso.slice(8, 10))} ${MONTHS[Number(iso.slice(5, 7)) - 1]}`;
export const weekday = (iso) => DAYS[new Date(iso).getUTCDay()];
export const clock = (iso) => iso.slice(11, 16);
export const moment = (iso) => `${day(iso)} ${clock(iso)}`;
export const month = (text) => `${MONTHS[Number(text.slice(5, 7)) - 1]} ${text.slice(0, 4)}`;

export const ago = (iso, now) => {
  const minutes = Math.max(0, Math.round((new Date(now) - new Date(iso)) / 60000));
  if (minutes < 1) return "just now";
  if (minutes < 120) return `${minutes} min ago`;
  return minutes < 2880 ? `${Math.round(minutes / 60)} h ago` : `${Math.round(minutes / 1440)} days ago`;
};

// The exact sum of amounts with at most 18 decimal places, as many as the models have.
export const sum = (texts) => {
  let units = 0n;
  for (const text of texts) {
    const { sign, whole, fraction } = split(text);
    units += BigInt((sign && "-") + whole + fraction.padEnd(18, "0"));
  }
  const digits = (units < 0n ? -units : units).toString().padStart(19, "0");
  return `${units < 0n ? "-" : ""}${digits.slice(0, -18)}.${digits.slice(-18)}`;
};
