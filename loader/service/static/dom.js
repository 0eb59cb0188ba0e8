// Creates elements from text. Neither this file nor the rest of the page ever parses a value as HTML.

export const element = (tag, attributes = {}, ...children) => {
  const created = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") created.textContent = value;
    else if (value !== "") created.setAttribute(name, value);
  }
  created.append(...children);
  return created;
};

export const fill = (place, ...children) => place.replaceChildren(...children);

// Text with `commands` shown as code.
export const prose = (text) => text.split("`").map((piece, at) => (at % 2 ? element("code", { text: piece }) : piece));

// head and rows: text or elements; right: right-aligned columns; wide: columns hidden on narrow screens;
// none: the text for an empty table.
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
