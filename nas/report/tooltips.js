// Shows what a part of a drawing is, when it is pointed at, tapped or focused. Without script its <title> does.
const tip = document.body.appendChild(document.createElement("div"));
tip.className = "tip";
tip.hidden = true;
tip.setAttribute("aria-hidden", "true"); // its words are the part's label already
let shown = null;

function show(part) {
  shown = part;
  tip.hidden = !part;
  if (!part) return;
  tip.textContent = part.getAttribute("aria-label");
  const box = part.getBoundingClientRect();
  const left = Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - 8);
  const above = box.top - tip.offsetHeight - 8;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${above < 8 ? box.bottom + 8 : above}px`;
}

for (const part of document.querySelectorAll("svg [tabindex]")) {
  const title = part.querySelector("title");
  part.setAttribute("aria-label", title.textContent);
  title.remove(); // or the browser would show a second one
  for (const begin of ["pointerenter", "focus"]) part.addEventListener(begin, () => show(part));
  for (const end of ["pointerleave", "blur"]) part.addEventListener(end, () => { if (shown === part) show(null); });
}
addEventListener("keydown", (event) => { if (event.key === "Escape") show(null); });
addEventListener("scroll", () => show(shown), { capture: true, passive: true });
