// Elements without HTML strings: text can only ever become text, and the policy of Trusted Types holds.

/** `<tag>` with attributes (false and null leave one out; `on...` listens) and children (strings become text). */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** A bar that is filled to `share` (0 to 1). Decoration: the number stands beside it in words. */
export function level(share) {
  const bar = el("div", { class: "level", "aria-hidden": "true" }, el("i"));
  setShare(bar, share);
  return bar;
}

/** The policy allows no style attribute; a property set by script is none. */
export function setShare(node, share) {
  node.style.setProperty("--share", String(Math.max(0, Math.min(1, share))));
}

export function pill(tone, text) {
  return el("span", { class: "pill", "data-tone": tone }, text);
}

export function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
