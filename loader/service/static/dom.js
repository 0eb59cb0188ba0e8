// Elements from text: nothing here, or anywhere on the page, makes HTML from a value.

export const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") made.textContent = value;
    else if (value !== "") made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
};

export const fill = (place, ...children) => place.replaceChildren(...children);

// A sentence of the service, with `commands` as code.
export const prose = (text) => text.split("`").map((piece, at) => (at % 2 ? element("code", { text: piece }) : piece));

// head and rows: texts or elements; right: columns of numbers; wide: columns that a phone has no room for.
export const table = (place, head, rows, right = [], none = "", wide = []) => {
  const row = (cells, tag) => element("tr", {}, ...cells.map((cell, at) => element(
    at === 0 && tag === "td" ? "th" : tag,
    {
      class: [right.includes(at) ? "number" : "", wide.includes(at) ? "wide" : ""].join(" ").trim(),
      scope: tag === "th" ? "col" : at === 0 ? "row" : "",
    },
    cell,
  )));
  if (rows.length === 0 && none) {
    fill(place, element("tbody", {}, element("tr", {}, element("td", { class: "quiet", text: none }))));
    return;
  }
  fill(place, element("thead", {}, row(head, "th")), element("tbody", {}, ...rows.map((cells) => row(cells, "td"))));
};
