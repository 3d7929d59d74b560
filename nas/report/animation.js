// Lets one walk through the search by its slider, or plays it. Without script the heat map tells the same.
const animation = document.getElementById("animation");
const told = JSON.parse(document.getElementById("animation-frames").textContent);
const slider = animation.querySelector("input");
const button = animation.querySelector("button");
const numbers = animation.querySelectorAll("dd");
const nodes = [...animation.querySelectorAll(".node")].map((node) => [...node.querySelectorAll("li")]);
const last = told.frames.length - 1;
const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
const stride = isCalm ? Math.ceil(last / 10) : 1; // few still pictures for those whom motion makes ill
const pause = isCalm ? 1500 : Math.max(40, 8000 / last);
let timer = 0;

const percent = (weight) => (weight === null ? "–" : `${(100 * weight).toFixed(1)} %`);

function show() {
  const frame = told.frames[slider.value];
  frame.numbers.forEach((text, place) => { numbers[place].textContent = text; });
  const heaviest = nodes.map((rows, node) => {
    const weights = frame.weights[node];
    rows.forEach((row, place) => {
      row.querySelector(".weight").textContent = percent(weights[place]);
      const bar = row.querySelector(".bar");
      if (bar) bar.style.width = `${(100 * weights[place]) / told.top}%`;
    });
    const single = rows.filter((row) => row.querySelector(".bar"));
    const best = single.reduce((a, _, place) => (weights[place] > weights[a] ? place : a), 0);
    return single[best].querySelector(".label").firstChild.textContent;
  });
  slider.setAttribute("aria-valuetext", `step ${frame.numbers[0]}; heaviest: ${heaviest.join(", ")}`);
}

function stop() {
  clearInterval(timer);
  timer = 0;
  button.textContent = "Play";
}

button.addEventListener("click", () => {
  if (timer) return stop();
  if (Number(slider.value) === last) slider.value = 0;
  button.textContent = "Pause";
  show();
  timer = setInterval(() => {
    slider.value = Math.min(last, Number(slider.value) + stride);
    show();
    if (Number(slider.value) === last) stop();
  }, pause);
});
slider.addEventListener("input", () => { stop(); show(); });
animation.hidden = false;
show();
