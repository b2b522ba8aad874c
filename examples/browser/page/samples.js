// Real digits, ten at a time, as small pictures on buttons.

export async function showSamples(place, others, load) {
  const response = await fetch("samples.json").catch(() => null);
  if (!response?.ok) {
    place.textContent = "The host does not serve any.";
    others.hidden = true;
    return;
  }
  const samples = await response.json();
  let first = 0;
  const show = () => place.replaceChildren(...samples.slice(first, first + 10).map((sample) => button(sample, load)));
  others.addEventListener("click", () => {
    first = (first + 10) % samples.length;
    show();
  });
  show();
}

function button({ index, label, levels }, load) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-label", `Load a ${label}, test image ${index}`);
  const picture = button.appendChild(document.createElement("canvas"));
  picture.width = picture.height = 8;
  const context = picture.getContext("2d");
  // Black with a transparency: style.css inverts the picture where the page is dark.
  levels.forEach((level, i) => {
    context.fillStyle = `rgb(0 0 0 / ${level / 16})`;
    context.fillRect(i % 8, Math.floor(i / 8), 1, 1);
  });
  button.addEventListener("click", () => load(levels));
  return button;
}
